"""What was routed before a range moved away and came back is redirected, whenever it arrives."""

from __future__ import annotations

import attrs
import pytest
from deferreds import result
from shard.states import HALF, LOW, STATE, answers
from twisted.internet.task import Clock

from pyshard.errors import WrongShard
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_operations import Has, Read, Write
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore

BACK = ((0, HALF // 2),)
KEYS = [key for key in (b"%d" % number for number in range(200)) if in_ranges(slot_of(key), LOW.ranges)]
MOVED = [key for key in KEYS if in_ranges(slot_of(key), BACK)]
STAYED = [key for key in KEYS if key not in MOVED]

#: A later epoch, since which a part of the shard's range is here again.
LATER: ClusterState = attrs.evolve(STATE, epoch=9, since=((*BACK[0], 9),))


@pytest.fixture
def shard() -> Shard:
    """The shard called low at epoch 9, with all keys."""
    clock = Clock()
    made = Shard(MemoryStore("1d", clock.seconds), clock.seconds)
    result(made.configure("low", STATE))
    result(made.apply(7, [Write("", KEYS, [b"later"] * len(KEYS))]))
    result(made.configure("low", LATER))
    return made


@pytest.mark.parametrize("epoch", [7, 8])
@pytest.mark.parametrize("run", [Write("", KEYS, [b"late"] * len(KEYS)), Read("", KEYS), Has("", KEYS)], ids=repr)
def test_redirected(shard: Shard, epoch: int, run: Write | Read | Has) -> None:
    """Whoever knows an older epoch alone is told to get the map, of what has moved; the rest is done."""
    (answer,) = result(shard.apply(epoch, [run]))
    refused = {key for key, outcome in zip(run.keys, answer.outcomes(), strict=True) if isinstance(outcome, WrongShard)}
    assert refused == set(MOVED)
    (found,) = answers(shard, Read("", MOVED), epoch=9)
    assert found == [b"later"] * len(MOVED)


def test_a_batch_of_what_stayed(shard: Shard) -> None:
    """It is done whole."""
    (answer,) = result(shard.apply(7, [Write("", STAYED, [b"late"] * len(STAYED))]))
    assert not answer.errors


def test_pages_and_counts(shard: Shard) -> None:
    """A walk that is where something has moved gets the map, too."""
    with pytest.raises(WrongShard):
        shard.keys(8, "", 0, None)
    with pytest.raises(WrongShard):
        shard.count(8, "", 0)
    assert result(shard.keys(8, "", BACK[0][1], None)).keys == sorted(STAYED, key=lambda key: (slot_of(key), key))
    assert set(result(shard.keys(9, "", 0, None)).keys) == set(KEYS)
