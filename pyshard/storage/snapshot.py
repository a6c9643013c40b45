"""A store as it was at one moment, page by page: `ISnapshot` over the rows that any store gives it.

Rules:

- a page has whole rows, and at least one until the end;
- each call looks at a bounded number of records, with those that had expired: where that gives nothing yet, it says so;
- a snapshot that has ended gives no row any more, and says why it ended;
- one that has given its last row keeps nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Generic, Protocol, TypeVar

from pyshard.errors import SnapshotEnded
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.settings import settings


def _nothing() -> None:
    pass


class _Sized(Protocol):
    @property
    def size(self) -> int: ...


_R = TypeVar("_R", bound=_Sized)


class Snapshot(Generic[_R]):
    """`ISnapshot` over an iterator of rows, of a kind that knows its `size`.

    :param records: how many records there are, with those that had expired.
    :param expired: looks at records, those that had expired among them; after each, how many more of these there are.
    :param rows: the rows, and None for each record that is none; each is read when a page wants it.
    :param lock: held while records are looked at.
    :param release: called once, with the lock held, when no more rows are wanted.
    :param pinned: how many bytes the store keeps for it by now.
    :param kept: how many records it has kept for it until now.
    """

    def __init__(
        self,
        records: int,
        expired: Iterator[int],
        rows: Iterator[_R | None],
        lock: AbstractContextManager[object] | None = None,
        release: Callable[[], None] = _nothing,
        pinned: Callable[[], int] = int,
        kept: Callable[[], int] = int,
    ) -> None:
        self._kept = kept
        self._documents = records
        self._expired: Iterator[int] | None = expired
        self._pinned = pinned
        self._rows: Iterator[_R | None] | None = rows
        self._next: _R | None = None  # was read, and did not fit on the last page
        self._lock = lock or nullcontext()
        self._release = release
        self._why_ended = ""

    @property
    def pinned(self) -> int:
        """See `ISnapshot`."""
        return 0 if self._rows is None else self._pinned()

    @property
    def kept(self) -> int:
        """See `ISnapshot`."""
        return self._kept()

    def count(self, most_steps: int = settings.SNAPSHOT_STEPS) -> int | None:
        """See `ISnapshot`."""
        with self._lock:
            self._refuse_ended()
            if self._expired is not None:
                looked_at = list(islice(self._expired, most_steps))
                self._documents -= sum(looked_at)
                if len(looked_at) == most_steps:
                    return None
                self._expired = None
            return self._documents

    def page(self, most_bytes: int, most_steps: int = settings.SNAPSHOT_STEPS) -> list[_R] | None:
        """See `ISnapshot`."""
        page: list[_R] = []
        with self._lock:
            if self._rows is None:
                self._refuse_ended()
                return page
            if self._next is not None:
                most_bytes -= self._next.size
                page.append(self._next)
                self._next = None
            looked_at = 0
            for row in islice(self._rows, most_steps):
                looked_at += 1
                if row is None:
                    continue
                most_bytes -= row.size
                if page and most_bytes < 0:
                    self._next = row
                    return page
                page.append(row)
            if looked_at == most_steps:
                return page or None
            self._let_go()
        return page

    def close(self) -> None:
        """See `ISnapshot`."""
        with self._lock:
            self.end("it was closed")

    def end(self, why: str) -> None:
        """Release all resources. The caller holds the lock.

        :param why: the reason that the next page gives.
        """
        self._why_ended = self._why_ended or why
        self._let_go()

    def _refuse_ended(self) -> None:
        if self._why_ended:
            raise SnapshotEnded(f"the snapshot has ended: {self._why_ended}; start the backup again")

    def _let_go(self) -> None:
        # All cursors must be gone before their transaction is. LMDB frees a reader's place only then.
        kept = self._kept()
        self._kept = lambda: kept
        self._rows = self._next = self._expired = None
        self._pinned = int
        release, self._release = self._release, _nothing
        release()


class StoreCopy(Snapshot[Change]):
    """`ICopy` over an iterator of changes; for most parameters see `Snapshot`.

    :param head: what the copy begins with.
    """

    def __init__(
        self,
        head: ChangeGroup,
        rows: Iterator[Change | None],
        lock: AbstractContextManager[object] | None = None,
        release: Callable[[], None] = _nothing,
        pinned: Callable[[], int] = int,
    ) -> None:
        super().__init__(0, iter(()), rows, lock, release, pinned)
        self.head = head
