"""What a shard serves: as much as it is to own and its store serves, found once for each of these."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from shard.states import HALF, STATE, split_at
from stores import at_once
from work import steps

from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import SlotRanges, common, union, without
from pyshard.protocol.batch_operations import Read, Run, Write
from pyshard.protocol.store_ranges import Seal, StoreRanges
from pyshard.shard.assignment import Assignment
from pyshard.shard.served_slots import FoundServedSlots, ServedSlots
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore

LOW = Assignment("low", STATE)

some_ranges = st.lists(st.tuples(st.integers(0, HALF), st.integers(0, HALF)), max_size=4).map(
    lambda given: union(tuple((min(one), max(one)) for one in given))
)


@given(some_ranges, some_ranges)
def test_what_is_served_and_what_is_closed(by_store: SlotRanges, sealing: SlotRanges) -> None:
    """Served is what the store serves of what the shard is to own, and isn't about to be sealed; the rest is closed."""
    served = FoundServedSlots().of(LOW, STATE.epoch, by_store, sealing)
    assert served.ranges == common(without(by_store, sealing), LOW.ranges)
    assert served.closed == without(LOW.ranges, served.ranges)


def test_the_same_object() -> None:
    """What the store serves is given as it is, where the shard is to own all of it: the store compares objects."""
    found = FoundServedSlots()
    for by_store in (union(LOW.ranges), ((0, 5),)):
        assert found.of(LOW, STATE.epoch, by_store, ()).ranges is by_store


def test_what_has_changed_is_found_anew() -> None:
    """Another assignment, another state of the store, another seal, or another epoch of who asks."""
    found, part, sealing = FoundServedSlots(), ((0, 1000),), ((10, 20),)
    other = Assignment("low", split_at(500, 8))
    assert found.of(LOW, STATE.epoch, part, ()) == ServedSlots(part, ((1000, HALF),))
    assert found.of(LOW, STATE.epoch, part, sealing).ranges == ((0, 10), (20, 1000))
    assert found.of(LOW, STATE.epoch, ((0, 7),), ()).ranges == ((0, 7),)
    assert found.of(LOW, 8, part, ()) == ServedSlots(part, ((1000, HALF),))
    assert found.of(other, 8, part, ()) == ServedSlots(((0, 500),), ())
    older = FoundServedSlots()
    moved = Assignment("low", ClusterState("c1", 9, STATE.map, since=((0, 100, 9),)))
    for _ in range(2):
        assert older.of(moved, 9, part, ()).ranges == part
        assert older.of(moved, 8, part, ()).ranges == ((100, 1000),)


def test_a_seal_costs_the_others_nothing() -> None:
    """While a range is sealed, a batch of the others costs about what it did, however many ranges the shard has."""

    def work_of_a_batch(count: int, sealed: bool) -> int:
        width = SLOTS // (2 * count)
        parts = [(place * width, (place + 1) * width) for place in range(2 * count)]
        parts[-1] = (parts[-1][0], SLOTS)
        own, others = tuple(parts[::2]), tuple(parts[1::2])
        state = ClusterState(
            "c1", 7, ShardMap([MapShard("low", own, 1 << 30, "h", 1, "1d"), MapShard("high", others, 1, "h", 2)])
        )
        store = MemoryStore("1d", lambda: 1.0)
        shard = Shard(store, lambda: 0.0)
        shard.configure("low", state)
        key = next(key for key in (b"%d" % number for number in range(10_000)) if slot_of(key) < width)
        if sealed:
            at_once(store.seal("m", own[-1:], 1))
        runs: list[Run] = [Write("", [key], [b"1"]), Read("", [key])]
        at_once(shard.apply(7, runs))
        return steps(lambda: at_once(shard.apply(7, runs)))

    for count in (10, 500):
        assert work_of_a_batch(count, sealed=True) < 1.5 * work_of_a_batch(count, sealed=False)


def test_ranges_of_a_store_are_found_once() -> None:
    """What a store serves beside seals is the same object each time; that of other ranges is another one."""
    ranges = StoreRanges(((0, 100),), sealed={"m": Seal(((10, 20),), 1), "n": Seal(((30, 40),), 1)})
    assert ranges.served == ((0, 10), (20, 30), (40, 100))
    assert ranges.served is ranges.served
    assert ranges.unsealed("n").served == ((0, 10), (20, 100))
    assert ranges == StoreRanges(((0, 100),), sealed={"m": Seal(((10, 20),), 1), "n": Seal(((30, 40),), 1)})
