"""A store with the rows that it should have, and the rows of a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deferreds import result
from twisted.internet.task import Clock

from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Remove, Run, Write
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.storage import ISnapshot, IStore, Task

PLENTY = 1 << 40
INDEXES = {"": 0, "pages": 1, "links": 2}
NAMED = {"pages": 1, "links": 2}


class Bench:
    """A store with the indexes `NAMED`, and the rows that it should have.

    :ivar rows: (index id, key) → row.
    """

    def __init__(self, store: IStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.rows: dict[tuple[int, bytes], Row] = {}
        result(store.set_indexes(NAMED))

    def apply(self, run: Run) -> list[Any]:
        """Apply one run."""
        slots = [slot_of(key, run.index.encode()) for key in run.keys]
        (answer,) = result(self.store.apply([Task(run, INDEXES[run.index], slots)], PLENTY, PLENTY))
        assert answer.errors == {}
        return answer.results

    def write(self, key: bytes, record: bytes, index: str = "", ttl: int = 0) -> None:
        """Write one record."""
        self.apply(Write(index, [key], [record], None, [ttl]))
        expires = int(self.clock.seconds() * 1000) + ttl if ttl else 0
        self.rows[INDEXES[index], key] = Row(INDEXES[index], key, expires, record)

    def remove(self, key: bytes, index: str = "") -> None:
        """Remove one record."""
        self.apply(Remove(index, [key]))
        self.rows.pop((INDEXES[index], key), None)

    def live(self) -> list[Row]:
        """The live rows that it should have now."""
        now = int(self.clock.seconds() * 1000)
        return in_order(row for row in self.rows.values() if not 0 < row.expires <= now)


def in_order(rows: Iterator[Row] | list[Row]) -> list[Row]:
    """Rows by index and key."""
    return sorted(rows, key=lambda row: (row.index, row.key))


def all_of(snapshot: ISnapshot, most_bytes: int = PLENTY) -> list[Row]:
    """All rows of a snapshot, in order."""
    rows: list[Row] = []
    while page := next_page(snapshot, most_bytes):
        rows += page
    return in_order(rows)


def next_page(snapshot: ISnapshot, most_bytes: int = PLENTY, most_steps: int = settings.SNAPSHOT_STEPS) -> list[Row]:
    """The next rows of a snapshot, if there are any."""
    while (page := snapshot.page(most_bytes, most_steps)) is None:
        pass
    return page


def count_of(snapshot: ISnapshot, most_steps: int = settings.SNAPSHOT_STEPS) -> int:
    """How many rows a snapshot has."""
    while (count := snapshot.count(most_steps)) is None:
        pass
    return count
