"""The exit codes of the command (docs/cli.md), and the line on standard error that explains one."""

from __future__ import annotations

from enum import IntEnum

from pyshard.errors import (
    MOST_PLAIN,
    BackupDamaged,
    ConfigError,
    IndexExists,
    IndexNotFound,
    InvalidArgument,
    InvalidDocument,
    InvalidIndexName,
    InvalidKey,
    NotANumber,
    NotAuthenticated,
    NotConfigured,
    NotEmpty,
    NotTrusted,
    OutcomeUnknown,
    Overloaded,
    PermissionDenied,
    PyshardError,
    ShardFull,
    ShuttingDown,
    SnapshotEnded,
    StorageFailed,
    TooManySnapshots,
    Unavailable,
    UnreadableRecord,
    plain,
    shortened,
)


class ExitCode(IntEnum):
    """How the command can end."""

    OK = 0
    #: No such key, or an unmet condition; nothing was changed. `stat`: a shard is down. `up`: a daemon failed.
    #: `apply`, `jobs` and others: a move was cancelled that was waited for.
    NEGATIVE = 1
    #: An option, an argument, a config file, a line of input or a backup can't be used.
    USAGE = 2
    #: No answer within the deadline, or no backup for now; nothing was changed.
    UNAVAILABLE = 3
    #: A change was sent, and its answer was lost.
    OUTCOME_UNKNOWN = 4
    #: The cluster said no: shard or disk full, index exists, no such index, no number, not empty, no token for it,
    #: no certificate for it, nothing that can move.
    REFUSED = 5
    #: Anything else: a daemon of another cluster or version, a failure inside a daemon, an incomplete restore.
    FAILED = 6
    #: A record can't be read. `pop` and `remove`: it was removed. `cat`, `restore`: all others were written.
    UNREADABLE = 7
    #: Ctrl-C.
    INTERRUPTED = 130
    #: The reader of the output went away.
    OUTPUT_CLOSED = 141


_CODES: list[tuple[tuple[type[PyshardError], ...], ExitCode]] = [
    ((ConfigError, InvalidKey, InvalidArgument, InvalidDocument, InvalidIndexName, BackupDamaged), ExitCode.USAGE),
    ((Unavailable, Overloaded, NotConfigured, ShuttingDown, SnapshotEnded, TooManySnapshots), ExitCode.UNAVAILABLE),
    ((OutcomeUnknown,), ExitCode.OUTCOME_UNKNOWN),
    ((UnreadableRecord,), ExitCode.UNREADABLE),
    (
        (
            ShardFull,
            StorageFailed,
            IndexExists,
            IndexNotFound,
            NotANumber,
            NotEmpty,
            NotAuthenticated,
            PermissionDenied,
            NotTrusted,
        ),
        ExitCode.REFUSED,
    ),
]


def exit_code_of(error: PyshardError) -> ExitCode:
    """The exit code for an error."""
    return next((code for classes, code in _CODES if isinstance(error, classes)), ExitCode.FAILED)


class CommandFailed(Exception):
    """Ends the command with a line on standard error and an exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def one_line(message: str) -> str:
    """A message as the command's last line: ``pyshard: …``."""
    return "pyshard: " + plain(" ".join(shortened(message, MOST_PLAIN).split()))
