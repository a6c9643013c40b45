"""Every public exception of pyshard: one base, one file, named for what happened.

Rules kept here:

- an exception's only argument that it needs is its message, because AMP carries a declared error as a code and one
  string;
- each class has a ``code`` of its own, and `AMP_ERRORS` (class → code) is what every command declares;
- the message says what was given, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class PyshardError(Exception):
    """Base of every error that pyshard raises on purpose."""

    code: ClassVar[str] = "PYSHARD_ERROR"


class ConfigError(PyshardError):
    """A config file, an address or an option can't be used; nothing was started."""

    code = "CONFIG_ERROR"


class InvalidKey(PyshardError):
    """The key is no str, int or float, or too long. Nothing was sent."""

    code = "INVALID_KEY"


class InvalidArgument(PyshardError):
    """An argument of a verb can't be used, such as a negative ``ttl``. Nothing was sent."""

    code = "INVALID_ARGUMENT"


class InvalidDocument(PyshardError):
    """The document holds something that can't be stored. Nothing was sent."""

    code = "INVALID_DOCUMENT"


class DocumentTooLarge(InvalidDocument):
    """The document is larger than one document may be. Nothing was stored."""

    code = "DOCUMENT_TOO_LARGE"


class InvalidIndexName(PyshardError):
    """The index name is empty, too long or has characters that a name can't have."""

    code = "INVALID_INDEX_NAME"


class IndexNotFound(PyshardError):
    """There is no index of that name in the cluster."""

    code = "INDEX_NOT_FOUND"


class IndexExists(PyshardError):
    """There is an index of that name already."""

    code = "INDEX_EXISTS"


class ShardFull(PyshardError):
    """The write would take the shard past its limit; the shard kept what it had."""

    code = "SHARD_FULL"


class NotANumber(PyshardError):
    """`increment` met a document that is no int; nothing was changed."""

    code = "NOT_A_NUMBER"


class StorageFailed(PyshardError):
    """The shard's disk did not take the change, which was undone, while reads go on; or it could not be read."""

    code = "STORAGE_FAILED"


class SnapshotEnded(PyshardError):
    """The snapshot that was read from is gone; what was read of it is no backup. Begin again with a new one."""

    code = "SNAPSHOT_ENDED"


class TooManySnapshots(PyshardError):
    """The shard has as many snapshots open as it may; try again when another backup has ended."""

    code = "TOO_MANY_SNAPSHOTS"


class BackupFailed(PyshardError):
    """The backup could not be taken; what was written of it was removed."""

    code = "BACKUP_FAILED"


class BackupDamaged(PyshardError):
    """The directory holds no finished backup, or not the one that was written; nothing was restored from it."""

    code = "BACKUP_DAMAGED"


class NotEmpty(PyshardError):
    """The cluster that was to be restored into has documents or indexes; nothing was changed."""

    code = "NOT_EMPTY"


class RestoreIncomplete(PyshardError):
    """The restore stopped on the way: the cluster has a part of the backup. The message says why."""

    code = "RESTORE_INCOMPLETE"


class Unavailable(PyshardError):
    """No answer could be had before the deadline, and nothing was changed."""

    code = "UNAVAILABLE"


class OutcomeUnknown(PyshardError):
    """A change was sent and its answer was lost: it may or may not have happened."""

    code = "OUTCOME_UNKNOWN"


class Overloaded(PyshardError):
    """Too much waits for this shard; nothing was done. Issue fewer operations at a time, or later."""

    code = "OVERLOADED"


class PartialFailure(PyshardError):
    """A bulk verb failed for some keys, or for all; for the others it was done.

    :ivar outcomes: for each key in the order given, the key and what became of it: what the single verb gives, or the
        `PyshardError` that it raises.
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
    """The daemon wants a token and was given none, or a wrong one; nothing was done."""

    code = "NOT_AUTHENTICATED"


class PermissionDenied(PyshardError):
    """The token that was given may not do this; nothing was changed."""

    code = "PERMISSION_DENIED"


class TooManyConnections(PyshardError):
    """The daemon has as many connections as it may, in all or from one address; nothing was done. Try again later."""

    code = "TOO_MANY_CONNECTIONS"


class NotTrusted(PyshardError):
    """No connection with TLS could be had: a side refuses the other's certificate, or only one speaks TLS.

    Nothing was sent, and to try again is of no use before a certificate, or a side's files, are other ones.
    """

    code = "NOT_TRUSTED"


class ClientClosed(PyshardError):
    """The client was used after ``close()``."""

    code = "CLIENT_CLOSED"


class BlockingCallRefused(PyshardError):
    """A blocking call was made where it would stop a running reactor."""

    code = "BLOCKING_CALL_REFUSED"


class NotConfigured(PyshardError):
    """The shard waits for a bootstrap to tell it its range."""

    code = "NOT_CONFIGURED"


class ShuttingDown(PyshardError):
    """The daemon is about to stop and takes nothing new; nothing was changed."""

    code = "SHUTTING_DOWN"


class WrongShard(PyshardError):
    """Redirect: this shard doesn't own the key; a newer map says who does."""

    code = "WRONG_SHARD"


class ShardBehind(PyshardError):
    """The caller knows a newer epoch than the shard, which refuses until it is told."""

    code = "SHARD_BEHIND"


class AnswerFull(PyshardError):
    """The answer has no room for this operation; it was not applied: ask again."""

    code = "ANSWER_FULL"


class StaleEpoch(PyshardError):
    """A configuration older than, or different from, the one the shard has."""

    code = "STALE_EPOCH"


class ForeignCluster(PyshardError):
    """The peer belongs to another cluster; nothing was changed."""

    code = "FOREIGN_CLUSTER"


class WrongIdentity(PyshardError):
    """The peer is not the shard that was expected at its address; nothing was changed."""

    code = "WRONG_IDENTITY"


class BadRequest(PyshardError):
    """The request breaks the protocol: an argument is missing, malformed or past a limit."""

    code = "BAD_REQUEST"


class InternalError(PyshardError):
    """The peer failed in a way its authors did not foresee; its log has the details."""

    code = "INTERNAL_ERROR"


def _public_errors(base: type[PyshardError]) -> list[type[PyshardError]]:
    """`base` and all its subclasses, most derived first (AMP takes the first class that matches)."""
    found: list[type[PyshardError]] = []
    for subclass in base.__subclasses__():
        found.extend(_public_errors(subclass))
    return [*found, base]


#: Exception class → AMP error code, for the ``errors`` of every command; a subclass stands before its base.
AMP_ERRORS: dict[type[Exception], bytes] = {cls: cls.code.encode("ascii") for cls in _public_errors(PyshardError)}

#: AMP error code → exception class, for errors that concern one operation of a batch.
BY_CODE: dict[str, type[PyshardError]] = {cls.code: cls for cls in _public_errors(PyshardError)}


def from_code(code: str, message: str) -> PyshardError:
    """The exception for an error `code` as it crossed the wire.

    A code that this version doesn't know (a newer peer's) comes back as `PyshardError` that names it.
    """
    cls = BY_CODE.get(code)
    return PyshardError(f"{code}: {message}") if cls is None else cls(message)


def plain(message: str) -> str:
    """A message in one line of printable characters, for logs and terminals: a peer may have written it."""
    if message.isprintable():
        return message
    parts = [one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in message]
    return "".join(parts)
