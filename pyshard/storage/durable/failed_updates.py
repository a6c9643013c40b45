"""What becomes of updates that could not be committed, and what is said of a disk that failed.

Rules:

- a failure of the disk is that of all updates that were to be committed together;
- any other failure is that of a single update, and the others are done without it;
- a disk that is full fails with each change: of each kind of failure the log has a line at once, and then one a minute,
  with the number of those that had none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import lmdb
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import StorageFailed

_U = TypeVar("_U")

#: Seconds between two lines of one kind.
QUIET = 60.0


class FailureLog:
    """Logs what a disk failed at.

    :param steady: the clock that paces the lines.
    """

    _log = Logger()

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._told: dict[str, tuple[float, int]] = {}  # by kind: when there was a line, and failures without one since

    def add(self, kind: str, why: str) -> None:
        """Count a failure.

        :param kind: what could not be done.
        :param why: in words.
        """
        now = self._steady()
        since, left_out = self._told.get(kind, (now - QUIET, 0))
        if now - since < QUIET:
            self._told[kind] = since, left_out + 1
            return
        self._told[kind] = now, 0
        minutes = (now - since) / 60
        more = f"; such lines left out in the {minutes:.0f} min before: {left_out:,}" if left_out else ""
        self._log.error("{kind}: {why}{more}", kind=kind, why=why, more=more)

    def outcomes(self, commit: Callable[[Sequence[_U]], list[object]], updates: Sequence[_U]) -> list[object]:
        """The outcomes of updates of which none was done. Called where the exception is handled.

        :param commit: tries updates again.
        """
        failure = Failure()
        if failure.check(lmdb.Error, OSError):
            why = reason_of(failure.value)
            self.add("the disk did not take a change", why)
            return [Failure(StorageFailed(f"the shard's disk did not take the change: {why}"))] * len(updates)
        if len(updates) > 1:
            return [outcome for update in updates for outcome in commit([update])]
        return [failure] * len(updates)


def reason_of(error: BaseException | None) -> str:
    """Why a disk failed, in words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
