"""The errors of an operation that came to nothing, in words. Pure."""

from __future__ import annotations

from pyshard.client_core.unreached_daemon import with_cure
from pyshard.errors import BadRequest, OutcomeUnknown, Overloaded, PyshardError, ShardFull, StorageFailed, Unavailable

#: How the message begins of what wasn't sent, since other keys had found out that the shard is away.
NOT_SENT = "it was not sent: "

#: What a shard says of itself as "the shard".
_OF_SHARD = (Overloaded, ShardFull, StorageFailed)


def refused_by(peer: str, error: BaseException | None) -> PyshardError:
    """The error for what a shard refused for good, or by what its answer makes no sense.

    :param peer: the shard's name and address: errors that are about the shard name it.
    """
    if not isinstance(error, PyshardError):
        return no_sense(error)
    return type(error)(f"{peer}: {error}") if isinstance(error, _OF_SHARD) else error


def no_sense(error: BaseException | None) -> BadRequest:
    """The error for a read whose answer makes no sense.

    :param error: by which that was found out.
    """
    return BadRequest(f"the shard's answer makes no sense: {type(error).__name__}: {error}")


def in_doubt(operation: object, peer: str, why: str) -> OutcomeUnknown:
    """The error for a change whose answer was lost.

    :param operation: as messages say it.
    :param peer: the shard's name and address.
    :param why: the answer was lost.
    """
    return OutcomeUnknown(f"{operation} was sent to {peer}, but {why}: it may or may not have happened")


def too_late(operation: object, peer: str, why: str) -> Unavailable:
    """The error for an operation that changed nothing, and has no answer at its deadline.

    :param operation: as messages say it.
    :param peer: the shard's name and address.
    :param why: there was no answer.
    """
    return Unavailable(with_cure(f"{operation}: {peer} could not answer before the deadline: {why}", peer, why))


def not_sent(shard: str) -> Unavailable:
    """The error for what a bulk verb no longer sends to a shard that is away.

    :param shard: its name.
    """
    return Unavailable(f"{NOT_SENT}shard {shard!r} let the deadline of keys before it pass")
