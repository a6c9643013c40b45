"""A shard with several ranges, or with none."""

from __future__ import annotations

from itertools import count

import attrs
import pytest
from deferreds import result
from shard.states import HIGH, LOW, STATE, answers
from twisted.internet.task import Clock

from pyshard.errors import StaleEpoch, WrongShard
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_operations import Read, Write
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore, Page

OWN: SlotRanges = ((1_000_000, 2_000_000), (5_000_000, 5_000_001), (7_000_000, SLOTS))
OTHERS: SlotRanges = ((0, 1_000_000), (2_000_000, 5_000_000), (5_000_001, 7_000_000))


def state_with(own: SlotRanges, others: SlotRanges, epoch: int = 7) -> ClusterState:
    """A state in which low has `own`."""
    shards = ShardMap([attrs.evolve(LOW, ranges=own, limit=10**9), attrs.evolve(HIGH, ranges=others)])
    return attrs.evolve(STATE, epoch=epoch, map=shards)


def keys_in(ranges: SlotRanges, number: int) -> list[bytes]:
    """Some keys that lie in these ranges, in no order."""
    texts = (b"%d" % one for one in count())
    inside = (key for key in texts if in_ranges(slot_of(key), ranges))
    return [next(inside) for _ in range(number)]


@pytest.fixture
def shard(clock: Clock) -> Shard:
    """A shard with several ranges."""
    made = Shard(MemoryStore("1d", clock.seconds), clock.seconds)
    result(made.configure("low", state_with(OWN, OTHERS)))
    return made


@pytest.fixture
def none(clock: Clock) -> Shard:
    """A shard with no range."""
    made = Shard(MemoryStore("1d", clock.seconds), clock.seconds)
    result(made.configure("low", state_with((), ((0, SLOTS),))))
    return made


def test_batches(shard: Shard) -> None:
    """It takes the keys of all of its ranges, and refuses those between them, in any order."""
    mine, theirs = keys_in(OWN, 40), keys_in(OTHERS, 40)
    mixed = [key for pair in zip(mine, theirs, strict=True) for key in pair]
    assert shard.store.ranges.owned == OWN
    assert answers(shard, Write("", mixed, [b""] * 80)) == [[True, "WRONG_SHARD"] * 40]
    assert answers(shard, Read("", mine), Read("", mixed[::-1]))[0] == [b""] * 40
    assert answers(shard, Read("", mixed[::-1])) == [["WRONG_SHARD", b""] * 40]
    assert shard.store.documents == 40


def test_a_redirect_names_the_ranges(shard: Shard) -> None:
    """Of many ranges the first ones."""
    for refused in (shard.keys, lambda *arguments: shard.count(*arguments[:3])):
        with pytest.raises(WrongShard) as error:
            refused(7, "", 5_000_001, None)
        assert str(error.value) == (
            "shard 'low' owns [0.1, 0.2), [0.5, 0.5000001), [0.7, 1.0) at epoch 7, not 0.5000001; get the newest map"
        )


def test_pages_end_with_a_range(shard: Shard) -> None:
    """A page has keys of one range, and leads to its end, where another shard goes on."""
    mine = sorted(keys_in(OWN, 60), key=slot_of)
    assert answers(shard, Write("", mine, [b""] * 60)) == [[True] * 60]
    for start, end in OWN:
        inside = [key for key in mine if start <= slot_of(key) < end]
        assert result(shard.keys(7, "", start, None)) == Page(inside, False, end)
        assert result(shard.keys(7, "", end - 1, None)) == Page([], False, end)


def test_a_count_is_of_all_ranges(shard: Shard) -> None:
    """It says of which ranges it is, at whatever range the caller has come by."""
    mine = keys_in(OWN, 60)
    assert answers(shard, Write("", mine, [b""] * 60)) == [[True] * 60]
    assert [result(shard.count(7, "", start)) for start, _ in OWN] == [(60, OWN)] * 3


def test_stat(shard: Shard) -> None:
    """Statistics have each range, and a histogram of each."""
    assert answers(shard, Write("", keys_in(OWN[2:], 3), [b""] * 3)) == [[True] * 3]
    found = shard.stat()
    assert found["ranges"] == [[0.1, 0.2], [0.5, 0.5000001], [0.7, 1.0]]
    histogram = found["histogram"]
    assert isinstance(histogram, list)
    assert [(len(bars), sum(bars)) for bars in histogram] == [(10, 0), (10, 0), (10, 3)]


def test_a_shard_that_owns_nothing(none: Shard) -> None:
    """It is configured, answers statistics, and redirects all else."""
    assert none.store.ranges.owned == ()
    assert answers(none, Write("", [b"a", b"b"], [b""] * 2)) == [["WRONG_SHARD"] * 2]
    with pytest.raises(WrongShard, match="shard 'low' owns no slot at epoch 7"):
        none.keys(7, "", 0, None)
    with pytest.raises(WrongShard):
        none.count(7, "", 0)
    found = none.stat()
    assert (found["name"], found["ranges"], found["histogram"], found["documents"]) == ("low", [], [], 0)


def test_other_ranges_while_it_is_empty(none: Shard, shard: Shard) -> None:
    """An empty shard takes other ranges; one with documents refuses even those that differ in one slot."""
    result(none.configure("low", state_with(OWN, OTHERS, 8)))
    assert none.store.ranges.owned == OWN
    answers(shard, Write("", keys_in(OWN, 1), [b""]))
    with pytest.raises(StaleEpoch) as refused:
        result(shard.configure("low", state_with((*OWN[:1], *OWN[2:]), (*OTHERS, OWN[1]), 8)))
    assert str(refused.value) == (
        "this shard holds 1 documents for [0.1, 0.2), [0.5, 0.5000001), [0.7, 1.0); "
        "they don't move to [0.1, 0.2), [0.7, 1.0) by themselves"
    )
