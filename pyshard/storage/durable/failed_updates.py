"""What becomes of updates that could not be committed, and what is said of a disk that failed.

Rules:

- a failure of the disk is that of all updates that were to be committed together;
- any other failure is that of a single update, and the others are done without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import lmdb
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import StorageFailed

_U = TypeVar("_U")

_log = Logger()


def outcomes_of_failed(commit: Callable[[Sequence[_U]], list[object]], updates: Sequence[_U]) -> list[object]:
    """The outcomes of updates of which none was done. Called where the exception is handled.

    :param commit: tries updates again.
    """
    failure = Failure()
    if failure.check(lmdb.Error, OSError):
        why = reason_of(failure.value)
        _log.error("the disk did not take a change: {error}", error=why)
        return [Failure(StorageFailed(f"the shard's disk did not take the change: {why}"))] * len(updates)
    if len(updates) > 1:
        return [outcome for update in updates for outcome in commit([update])]
    return [failure] * len(updates)


def reason_of(error: BaseException | None) -> str:
    """Why a disk failed, in words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
