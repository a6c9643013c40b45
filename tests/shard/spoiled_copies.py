"""Complete copies some of whose rows differ from the source, and the repair of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import pytest
from msgspec.structs import replace
from shard.compared_copies import check_released, until_equal
from shard.pulling import KEYS, MOVING, Pulling, records
from stores import PLENTY, folder
from twisted.internet.defer import Deferred

from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol import row_digests
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.settings import settings
from pyshard.shard import range_pull, repair_plan, served_digests
from pyshard.shard.followed_shard import FollowedShard

PAIRS = [("memory", "lmdb"), ("lmdb", "memory")]
GROWING = ("lmdb with a small map", "lmdb with a small map")
BUCKETS = 64
FIRST: SlotRanges = ((MOVING[0][0], MOVING[0][0] + 600_000),)  # ten of them
MORE = [b"more %d" % number for number in range(1500)]
SPOILED = [key for key in MORE if in_ranges(slot_of(key), FIRST)][:40]
ADDITIONAL = [key for number in range(200) if in_ranges(slot_of(key := b"additional %d" % number), FIRST)]


def changed(row: Change, number: int) -> Change:
    """The row with some difference."""
    return (
        replace(row, version=0, expires=0, record=None),
        replace(row, version=row.version + 1),
        replace(row, version=row.version - 1),
        replace(row, expires=row.expires + 10**14),
        replace(row, record=b"other bytes"),
    )[number % 5]


def removal(row: Change) -> Change:
    """The row's removal."""
    return Change(row.index, row.slot, row.key, 0, 0, None)


def spoil(pulling: Pulling) -> list[Change]:
    """Have a complete copy differ: rows that are missing, too many, or have another version, expiry or record.

    :return: what makes it right again.
    """
    store, wanted = pulling.target.store, {row.key: row for row in records(pulling.source, MOVING) if not row.index}
    rows = [wanted[key] for key in SPOILED]
    more = [Change(0, slot_of(key), key, 5, 0, b"more") for key in ADDITIONAL]
    spoiled = [changed(row, number) for number, row in enumerate(rows)] + more
    sequence = store.ranges.staged["m"].origin.sequence
    pulling.target.result(store.absorb_staged("m", ChangeGroup(0, 0, 0, spoiled), sequence, PLENTY))
    return [*rows, *map(removal, more)]


def in_order(rows: list[Change]) -> list[Change]:
    """The rows by index and key."""
    return sorted(rows, key=lambda row: (row.index, row.key))


@contextmanager
def complete_copy(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulling]:
    """A complete copy of a pair of stores, which a new process follows. Few rows are fetched again at a time."""
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=600))
    monkeypatch.setattr(row_digests, "MOST_BUCKETS", BUCKETS)
    monkeypatch.setattr(repair_plan, "_MOST_ROWS", 30)
    with folder() as path:
        made = Pulling(source, target, path)
        made.source.fill(dict.fromkeys(KEYS[:100], b"record"))
        made.source.fill(dict.fromkeys(KEYS[:100], b"page"), "pages")
        made.source.fill(dict.fromkeys(MORE, b"more"), ttl=900_000)
        made.run()
        until_equal(made)
        made.catch_up()
        made.interrupt()
        made.new_pull()
        monkeypatch.setattr(range_pull, "_PIECE", 3)
        yield made
        made.close()


def mended(pulling: Pulling) -> None:
    """The copy differed once, and was put right without being begun anew."""
    until_equal(pulling)
    verdict = pulling.pull.verdict
    assert (verdict.differed, verdict.portions, pulling.pull.progress.copies) == (1, [], 0)
    assert 5 <= verdict.refetched <= 10
    pulling.catch_up()
    check_released(pulling)
    pulling.check()


def at_each_repair(monkeypatch: pytest.MonkeyPatch, pulling: Pulling, act: Callable[[str], None]) -> list[Change]:
    """Have something done before and after each step of a repair: what was put right by then."""
    opened, read, store = FollowedShard.open_digest, FollowedShard.digest_rows, pulling.target.store
    absorb, put = store.absorb_staged, list[Change]()

    async def open_digest(source: FollowedShard, ranges: SlotRanges) -> ChangeGroup:
        if not pulling.pull.verdict.portions:
            return await opened(source, ranges)
        act("before the digest")
        head = await opened(source, ranges)
        act("after the digest")
        return head

    async def digest_rows(source: FollowedShard) -> list[Change]:
        act("before a page")
        page = await read(source)
        act("after a page")
        return page

    def absorb_staged(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        if not (pulling.pull.verdict.portions and group.changes and group.sequence == sequence):
            return absorb(name, group, sequence, limit)
        act("before rows")
        put.extend(group.changes)
        absorbed = absorb(name, group, sequence, limit)
        act("after rows")
        return absorbed

    monkeypatch.setattr(FollowedShard, "open_digest", open_digest)
    monkeypatch.setattr(FollowedShard, "digest_rows", digest_rows)
    monkeypatch.setattr(store, "absorb_staged", absorb_staged)
    return put
