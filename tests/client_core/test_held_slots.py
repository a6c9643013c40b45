"""Which slots a shard has lost, and where operations on them are held."""

from __future__ import annotations

import pytest

from pyshard.client_core.held_slots import holder_of, lost_slots, places_by_holder
from pyshard.model.shard_map import MapShard
from pyshard.model.slot_ranges import SlotRanges

OWN: SlotRanges = ((0, 10), (20, 30))


def shard(ranges: SlotRanges) -> MapShard:
    """A shard with some ranges."""
    return MapShard("a", ranges, 1, "host", 1)


@pytest.mark.parametrize(
    ("ranges", "lost"),
    [
        (OWN, ()),
        (((0, 40),), ()),
        (((0, 9), (20, 31)), ((9, 10),)),
        (((5, 25),), ((0, 5), (25, 30))),
        (((10, 20),), OWN),
        ((), OWN),
        (None, OWN),
    ],
)
def test_lost_slots(ranges: SlotRanges | None, lost: SlotRanges) -> None:
    """Slots of any range count, whatever is gained; who leaves the map loses all, and who had none nothing."""
    assert lost_slots(shard(OWN), None if ranges is None else shard(ranges)) == lost
    assert lost_slots(shard(()), None if ranges is None else shard(ranges)) == ()


def test_where_operations_are_held() -> None:
    """At the first shard that has lost their slot and owes answers; the others are held nowhere."""
    held = {"b": ((5, 10), (20, 30)), "a": ((0, 3), (25, 40))}
    assert [holder_of(held, slot) for slot in (0, 3, 5, 9, 10, 24, 25, 30)] == [
        "a",
        None,
        "b",
        "b",
        None,
        "b",
        "b",
        "a",
    ]
    assert places_by_holder(held, [39, 3, 25, 0, 10]) == {"a": [0, 3], None: [1, 4], "b": [2]}
    assert places_by_holder({}, [1, 2]) == {None: [0, 1]}
