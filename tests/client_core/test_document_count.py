"""A count over all shards: each is counted once, with all of its ranges, also when ranges move meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.client_core.document_count import DocumentCount
from pyshard.client_core.retried_index_walk import OutsideRanges
from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.pages import encode_ranges

FIRST = MapShard("first", ((0, 100), (200, 300)), 1, "127.0.0.1", 1)
SECOND = MapShard("second", ((100, 200), (300, SLOTS)), 1, "127.0.0.1", 2)


def answer(own: MapShard, documents: int) -> dict[str, Any]:
    """What a shard answers to `Count`."""
    return {"epoch": 7, "documents": documents, "ranges": encode_ranges(own.ranges)}


def counted(count: DocumentCount) -> tuple[int, int, bool]:
    """How far a count is."""
    return count.slot, count.documents, count.ended


def test_a_count_goes_from_shard_to_shard() -> None:
    """It adds up, asks each shard once, however many ranges it has, and goes on by the epoch of the newer map."""
    count = DocumentCount("pages")
    assert count.question(3) == {"epoch": 3, "index": "pages", "slot": 0}
    count.take(answer(FIRST, 7), FIRST)
    assert counted(count) == (100, 7, False)
    assert count.question(4) == {"epoch": 4, "index": "pages", "slot": 100}
    count.take(answer(SECOND, 5), SECOND)
    assert counted(count) == (SLOTS, 12, True)


def test_a_range_that_moves_meanwhile_is_counted_once() -> None:
    """What a shard said of a range that is another's by now counts no more, and the rest of it is counted again."""
    less, more = MapShard("first", ((0, 100),), 1, "h", 1), MapShard("second", ((100, SLOTS),), 1, "h", 2)
    count = DocumentCount("")
    count.take(answer(FIRST, 7), FIRST)
    count.take(answer(more, 9), more)
    assert counted(count) == (0, 9, False)
    count.take(answer(less, 4), less)
    assert counted(count) == (SLOTS, 13, True)


@pytest.mark.parametrize("ranges", [((0, 100),), ((0, 100), (200, 301)), ((0, SLOTS),)])
def test_a_count_of_other_ranges_than_the_map_s(ranges: tuple[tuple[int, int], ...]) -> None:
    """It would leave out other shards' documents, or count them twice. The shard may have a newer map."""
    count = DocumentCount("")
    for asked, error in ((6, OutsideRanges), (7, BadRequest)):
        count.question(asked)
        with pytest.raises(error, match=r"count of shard 'first' is of other ranges than its own, \[0.0, 1e-05\)"):
            count.take({"epoch": 7, "documents": 7, "ranges": encode_ranges(ranges)}, FIRST)
    assert counted(count) == (0, 0, False)
    count.take(answer(FIRST, 7), FIRST)
    assert counted(count) == (100, 7, False)


@pytest.mark.parametrize(
    "given",
    [
        answer(FIRST, 1),
        {"epoch": 7, "documents": -1, "ranges": encode_ranges(SECOND.ranges)},
        {"epoch": 7, "documents": 1, "ranges": encode_ranges(())},
        {"epoch": 7, "documents": 1, "ranges": encode_ranges(((100, 100), (300, 200)))},
    ],
)
def test_a_count_that_leads_nowhere(given: dict[str, Any]) -> None:
    """A bad shard can't keep a client counting for ever."""
    count = DocumentCount("")
    count.take(answer(FIRST, 7), FIRST)
    with pytest.raises(BadRequest, match="leads nowhere"):
        count.take(given, SECOND)
    assert counted(count) == (100, 7, False)


@given(st.lists(st.lists(st.integers(0, 3), min_size=10, max_size=10), min_size=1, max_size=5))
def test_each_slot_is_counted_once_whatever_moves(layouts: list[list[int]]) -> None:
    """Where each tenth of the keyspace has one document, there are ten, in whatever order the tenths move about."""
    tenth, count, steps = SLOTS // 10, DocumentCount(""), 0
    while not count.ended:
        owners = layouts[min(steps, len(layouts) - 1)]
        owned = [
            [(part * tenth, part * tenth + tenth) for part in range(10) if owners[part] == one] for one in range(4)
        ]
        shards = ShardMap([MapShard(f"s{one}", ranges, 1, "h", one + 1) for one, ranges in enumerate(owned)])
        own = shards.lookup(count.slot)
        count.take(answer(own, owners.count(int(own.name[1:]))), own)
        steps += 1
    assert count.documents == 10
    assert steps < len(layouts) + 4
