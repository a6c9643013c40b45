"""The one error of a bulk verb: how many keys failed, where, why, and whether they may be asked again. Pure.

Rules:

- errors that differ in figures alone are told once, with how many there are of them. Of very many different texts the
  first ones are compared, and the others are told as other errors;
- what wasn't sent, since a shard was known to be away, stands behind the reason for that;
- the message has no key and nothing of a document: it is what programs log. `PartialFailure.failed` has them.
"""

from __future__ import annotations

import re

from pyshard.client_core.operation_errors import NOT_SENT
from pyshard.errors import (
    AnswerFull,
    BackupFailed,
    DocumentTooLarge,
    FollowerBehind,
    InternalError,
    InvalidDocument,
    InvalidKey,
    NotANumber,
    NotConfigured,
    OutcomeUnknown,
    Overloaded,
    PartialFailure,
    PyshardError,
    ShardBehind,
    ShuttingDown,
    SnapshotEnded,
    StorageFailed,
    TooManyConnections,
    TooManySnapshots,
    Unavailable,
    UnreadableRecord,
    WrongShard,
    shortened,
)

_MOST_KINDS = 3  # that are told; of the others only how many keys they have
_LONGEST = 300  # characters of one reason
_COMPARED = 1_000  # different texts that are compared; a hostile shard may have given another one for each key

#: What may be asked again as it is. docs/errors.md says the same of each error.
_LATER = (
    AnswerFull,
    BackupFailed,
    FollowerBehind,
    InternalError,
    NotConfigured,
    Overloaded,
    ShardBehind,
    ShuttingDown,
    SnapshotEnded,
    StorageFailed,
    TooManyConnections,
    TooManySnapshots,
    Unavailable,
    WrongShard,
)
_IN_DOUBT = (OutcomeUnknown, PartialFailure)

#: Whose messages have a key, or something of a document.
_OF_ONE_KEY = (DocumentTooLarge, InvalidDocument, InvalidKey, NotANumber, UnreadableRecord)

#: A figure that stands for itself: no part of a name or an address.
_FIGURE = re.compile(r"(?<![\w.:',])\d[\d,.]*(?![\w:'])")


def partial_failure(outcomes: list[tuple[object, object]]) -> PartialFailure:
    """The error for outcomes among which are errors.

    :param outcomes: each key with what became of it.
    """
    failed = [outcome for _, outcome in outcomes if isinstance(outcome, PyshardError)]
    kinds = sorted(_kinds(failed), key=lambda kind: (str(kind[0]).startswith(NOT_SENT), -len(kind)))
    told = [f"{len(kind):,} with {_told(kind[0])}" for kind in kinds[:_MOST_KINDS]]
    others = len(failed) - sum(map(len, kinds[:_MOST_KINDS]))
    if others:
        told.append(f"{others:,} with other errors")
    count = f"{len(failed):,} of {len(outcomes):,} keys failed"
    return PartialFailure(f"{count}: {'; '.join(told)}; the error's 'failed' has each", outcomes)


def advice(kind: type[PyshardError]) -> str:
    """Whether a call that failed so may be made again, in words."""
    if issubclass(kind, _IN_DOUBT):
        return "may have happened: look first"
    return "may be asked again later" if issubclass(kind, _LATER) else "not to be asked again as it is"


def _kinds(failed: list[PyshardError]) -> list[list[PyshardError]]:
    """The errors, those together that differ in figures alone, without those whose texts aren't compared."""
    kinds: dict[tuple[type[PyshardError], str], list[PyshardError]] = {}
    compared: dict[str, str] = {}  # text → the same without its figures
    last: PyshardError | None = None
    kind: list[PyshardError] = []
    for error in failed:
        if error is not last:  # mostly one error stands for many keys
            text = "" if isinstance(error, _OF_ONE_KEY) else shortened(str(error), _LONGEST)
            said = compared.get(text)
            if said is None and len(compared) < _COMPARED:
                said = compared[text] = _FIGURE.sub("#", text)
            last, kind = error, [] if said is None else kinds.setdefault((type(error), said), [])
        kind.append(error)
    return list(kinds.values())


def _told(error: PyshardError) -> str:
    kind = f"{type(error).__name__} ({advice(type(error))})"
    return kind if isinstance(error, _OF_ONE_KEY) else f"{kind}: {shortened(str(error), _LONGEST)}"
