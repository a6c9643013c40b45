"""The errors of an operation that came to nothing, in words. Pure."""

from __future__ import annotations

from pyshard.errors import BadRequest, OutcomeUnknown, Unavailable


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
    """The error for what changed nothing, and has no answer at its deadline.

    :param operation: as messages say it.
    :param peer: the shard's name and address.
    :param why: there was no answer.
    """
    return Unavailable(f"{operation}: {peer} could not answer before the deadline: {why}")
