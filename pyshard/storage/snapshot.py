"""A store as it was at one moment, page by page: `ISnapshot` over the rows that any store gives it.

Rules:

- a page has whole rows, and at least one until the end;
- a snapshot that has ended gives no row any more, and says why it ended;
- one that has given its last row keeps nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

from pyshard.errors import SnapshotEnded
from pyshard.protocol.pages import Row

#: Bytes of a row beside its key and its record, in MessagePack, at the most.
_ROW_OVERHEAD = 32


def _nothing() -> None:
    pass


class Snapshot:
    """`ISnapshot` over an iterator of rows.

    :param documents: how many rows there are.
    :param rows: the rows; each is read when a page wants it.
    :param lock: held while rows are read.
    :param release: called once, with the lock held, when no more rows are wanted.
    :param pinned: how many bytes the store keeps for it by now.
    """

    def __init__(
        self,
        documents: int,
        rows: Iterator[Row],
        lock: AbstractContextManager[object] | None = None,
        release: Callable[[], None] = _nothing,
        pinned: Callable[[], int] = int,
    ) -> None:
        self.documents = documents
        self._pinned = pinned
        self._rows: Iterator[Row] | None = rows
        self._next: Row | None = None  # was read, and did not fit on the last page
        self._lock = lock or nullcontext()
        self._release = release
        self._why_ended = ""

    @property
    def pinned(self) -> int:
        """See `ISnapshot`."""
        return 0 if self._rows is None else self._pinned()

    def page(self, most_bytes: int) -> list[Row]:
        """See `ISnapshot`."""
        page: list[Row] = []
        with self._lock:
            if self._rows is None:
                if not self._why_ended:
                    return page
                raise SnapshotEnded(f"the snapshot has ended: {self._why_ended}; start the backup again")
            while (row := self._next or next(self._rows, None)) is not None:
                self._next = row
                most_bytes -= len(row.key) + len(row.record) + _ROW_OVERHEAD
                if page and most_bytes < 0:
                    break
                page.append(row)
                self._next = None
            if row is None:
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

    def _let_go(self) -> None:
        # The rows' cursor must be gone before its transaction is. LMDB frees a reader's place only then.
        self._rows = self._next = None
        self._pinned = int
        release, self._release = self._release, _nothing
        release()
