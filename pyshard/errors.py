"""Every public exception of pyshard: one base, one file, named for what happened.

Rules:

- an exception can be made of its message alone, because AMP carries an error as a code and one string. Whatever else
  it has is optional, and doesn't cross the wire;
- each class has a ``code`` of its own, in ASCII, and every command may answer with any of them;
- the message says what was given, what was expected and what to do, as far as there is something;
- what a peer or a user wrote, and values of any type, stand in a message as `pyshard.message_texts` gives them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pyshard.message_texts import MOST_PLAIN as MOST_PLAIN
from pyshard.message_texts import of_peer as of_peer
from pyshard.message_texts import plain as plain
from pyshard.message_texts import shortened as shortened
from pyshard.message_texts import shown_value as shown_value


class PyshardError(Exception):
    """Base of every error that pyshard raises on purpose."""

    code: ClassVar[str] = "PYSHARD_ERROR"


class ConfigError(PyshardError):
    """A config file, an address or an option can't be used; nothing was started."""

    code = "CONFIG_ERROR"


class InvalidKey(PyshardError):
    """The key is not a str, int or float, or it is too long. Nothing was sent."""

    code = "INVALID_KEY"


class InvalidArgument(PyshardError):
    """An argument of a verb can't be used, such as a negative ``ttl``. Nothing was sent."""

    code = "INVALID_ARGUMENT"


class InvalidDocument(PyshardError):
    """The document holds a value that can't be stored. Nothing was sent."""

    code = "INVALID_DOCUMENT"


class DocumentTooLarge(InvalidDocument):
    """The document has more bytes than a document may have, or an int than `increment` takes. Nothing was stored."""

    code = "DOCUMENT_TOO_LARGE"


class UnreadableRecord(PyshardError):
    """What is stored under the key is no document: another program wrote it, or it is damaged.

    :ivar record: its bytes, as they are stored; of `remove`, the first 5 of them.
    :ivar removed: whether the verb, `pop` or `remove`, removed the key all the same. The message says so, too.
    """

    code = "UNREADABLE_RECORD"

    def __init__(self, message: str, record: bytes = b"", removed: bool = False) -> None:
        super().__init__(message)
        self.record = record
        self.removed = removed


class InvalidIndexName(PyshardError):
    """The index's name is empty, too long or has other characters than a name may; or there are too many."""

    code = "INVALID_INDEX_NAME"


class IndexNotFound(PyshardError):
    """The cluster has no index of that name."""

    code = "INDEX_NOT_FOUND"


class IndexExists(PyshardError):
    """The cluster has an index of that name already."""

    code = "INDEX_EXISTS"


class ShardFull(PyshardError):
    """The write would take the shard past its limit. Nothing was changed."""

    code = "SHARD_FULL"


class NotANumber(PyshardError):
    """`increment` found a document that is not an int. Nothing was changed."""

    code = "NOT_A_NUMBER"


class StorageFailed(PyshardError):
    """The shard's disk failed. A change that it didn't take was undone; reads go on."""

    code = "STORAGE_FAILED"


class SnapshotEnded(PyshardError):
    """The snapshot is gone before all of it was read, so what was read is no backup. Open a new one."""

    code = "SNAPSHOT_ENDED"


class TooManySnapshots(PyshardError):
    """The shard has as many snapshots open as it may. Try again when another backup has ended."""

    code = "TOO_MANY_SNAPSHOTS"


class FollowerBehind(PyshardError):
    """What a follower wants next is no longer kept. It has to begin anew, with a copy."""

    code = "FOLLOWER_BEHIND"


class BackupFailed(PyshardError):
    """The backup could not be taken. What was written of it was removed."""

    code = "BACKUP_FAILED"


class BackupDamaged(PyshardError):
    """The directory holds no finished backup, or its files were changed. Nothing was restored."""

    code = "BACKUP_DAMAGED"


class NotEmpty(PyshardError):
    """The cluster to restore into has documents or indexes already. Nothing was changed."""

    code = "NOT_EMPTY"


class RestoreIncomplete(PyshardError):
    """The restore stopped on the way, so the cluster has a part of the backup. The message says why."""

    code = "RESTORE_INCOMPLETE"


class Unavailable(PyshardError):
    """There was no answer before the deadline. Nothing was changed."""

    code = "UNAVAILABLE"


class OutcomeUnknown(PyshardError):
    """A change was sent and its answer was lost, so it is in doubt: it may have happened, or not."""

    code = "OUTCOME_UNKNOWN"


class Overloaded(PyshardError):
    """Too many operations wait for this shard. Nothing was changed. Issue fewer at a time, or later."""

    code = "OVERLOADED"


class PartialFailure(PyshardError):
    """A bulk verb failed for some keys, or for all. For the others it was done.

    :ivar outcomes: a list of pairs (key, outcome), in the order in which the keys were given. An outcome is what the
        verb for a single key gives, or the `PyshardError` that it raises.
    """

    code = "PARTIAL_FAILURE"

    def __init__(self, message: str, outcomes: Iterable[tuple[object, object]] = ()) -> None:
        super().__init__(message)
        self.outcomes = list(outcomes)

    @property
    def failed(self) -> list[tuple[object, PyshardError]]:
        """The keys that failed, each with its error, in the order given."""
        return [(key, outcome) for key, outcome in self.outcomes if isinstance(outcome, PyshardError)]


class NotAuthenticated(PyshardError):
    """The daemon wants a token, and was given none or a wrong one. Nothing was changed."""

    code = "NOT_AUTHENTICATED"


class PermissionDenied(PyshardError):
    """The role of the token doesn't allow this. Nothing was changed."""

    code = "PERMISSION_DENIED"


class TooManyConnections(PyshardError):
    """The daemon has as many connections as it may, in all or from one address. Try again later."""

    code = "TOO_MANY_CONNECTIONS"


class NotTrusted(PyshardError):
    """There is no TLS connection: a side refuses the other's certificate, or only one side speaks TLS.

    Nothing was sent. It is no use to try again before somebody changes a certificate, or the files that a side uses.
    """

    code = "NOT_TRUSTED"


class ClientClosed(PyshardError):
    """The client was used after ``close()``."""

    code = "CLIENT_CLOSED"


class WrongEventLoop(PyshardError):
    """An asyncio client was used on another event loop than its own, in another thread, or after a fork."""

    code = "WRONG_EVENT_LOOP"


class NotConfigured(PyshardError):
    """The shard has no range yet: the bootstrap has still to configure it."""

    code = "NOT_CONFIGURED"


class ShuttingDown(PyshardError):
    """The daemon is stopping and takes nothing new. Nothing was changed."""

    code = "SHUTTING_DOWN"


class WrongShard(PyshardError):
    """Redirect: this shard doesn't own the key. A newer map says which one does."""

    code = "WRONG_SHARD"


class ShardBehind(PyshardError):
    """The caller knows a newer epoch than the shard. The shard refuses until the bootstrap has configured it."""

    code = "SHARD_BEHIND"


class AnswerFull(PyshardError):
    """The answer has no room for this operation. It was not applied: ask again."""

    code = "ANSWER_FULL"


class StaleEpoch(PyshardError):
    """The configuration is older than the shard's, or has the same epoch and another content."""

    code = "STALE_EPOCH"


class ForeignCluster(PyshardError):
    """The peer belongs to another cluster. Nothing was changed."""

    code = "FOREIGN_CLUSTER"


class WrongIdentity(PyshardError):
    """Another shard than the expected one answers at this address. Nothing was changed."""

    code = "WRONG_IDENTITY"


class BadRequest(PyshardError):
    """The request breaks the protocol: an argument is missing, malformed or over a limit."""

    code = "BAD_REQUEST"


class InternalError(PyshardError):
    """The peer failed in a way that pyshard doesn't expect. Its log has the details."""

    code = "INTERNAL_ERROR"


def _public_errors(base: type[PyshardError]) -> list[type[PyshardError]]:
    """`base` and all its subclasses."""
    found: list[type[PyshardError]] = []
    for subclass in base.__subclasses__():
        found.extend(_public_errors(subclass))
    return [*found, base]


_MAX_CODE = 60  # characters of an unknown code that a message shows

#: AMP error code → exception class.
BY_CODE: dict[str, type[PyshardError]] = {cls.code: cls for cls in _public_errors(PyshardError)}


def from_code(code: str, message: str) -> PyshardError:
    """The exception for an error `code` that crossed the wire. Of both no more is taken than a message may have.

    :return: for a code that this version doesn't know, as of a newer peer, a `PyshardError` that names it.
    """
    cls = BY_CODE.get(code)
    text = of_peer(message)
    return PyshardError(f"{of_peer(code, _MAX_CODE)}: {text}") if cls is None else cls(text)
