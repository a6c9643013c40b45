"""Which keys a shard hashes: those that its store doesn't hold for certain."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from deferreds import result
from shard.states import LOW, STATE
from twisted.internet.task import Clock

from pyshard.model import key_slots
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_answers import VERSION, Answer
from pyshard.protocol.batch_operations import Has, Pop, Read, Run, Write
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore

OWN = [key for key in (b"%d" % number for number in range(20)) if in_ranges(slot_of(key), LOW.ranges)]
FOREIGN = next(key for key in (b"%d" % number for number in range(20)) if not in_ranges(slot_of(key), LOW.ranges))


@pytest.fixture
def shard() -> Shard:
    """The shard called low, with its own keys but the last one written."""
    clock = Clock()
    made = Shard(MemoryStore("1d", clock.seconds), clock.seconds)
    result(made.configure("low", STATE))
    applied(made, Write("", OWN[:-1], OWN[:-1]))
    return made


@pytest.fixture
def hashed(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys whose slots are computed from now on."""
    keys: list[bytes] = []
    slots_of = key_slots.slots_of

    def noted(some: Iterable[bytes], index: bytes) -> list[int]:
        some = list(some)
        keys.extend(some)
        return slots_of(some, index)

    monkeypatch.setattr(key_slots, "slots_of", noted)
    return keys


def applied(shard: Shard, run: Run) -> Answer:
    """Apply one run."""
    (answer,) = result(shard.apply(7, [run]))
    return answer


def records(answer: Answer) -> list[object]:
    """The records of an answer, without their versions."""
    return [one[VERSION.size :] if isinstance(one, bytes) else one for one in answer.results]


def test_what_is_held_is_read_at_once(shard: Shard) -> None:
    """And counts as operations as anything else does; an index that isn't there is refused as ever."""
    before = shard.operations
    assert records(applied(shard, Read("", OWN[:-1]))) == OWN[:-1]
    assert shard.operations == before + len(OWN) - 1
    assert set(applied(shard, Read("none", OWN[:-1])).refusals()) == set(range(len(OWN) - 1))


def test_what_is_held_is_not_hashed(shard: Shard, hashed: list[bytes]) -> None:
    """Reading, looking for and overwriting keys that are there takes no slots."""
    there = OWN[:-1]
    assert applied(shard, Has("", there)).results == [True] * len(there)
    assert applied(shard, Write("", there, [b"new"] * len(there))).results == [True] * len(there)
    assert records(applied(shard, Read("", there))) == [b"new"] * len(there)
    assert hashed == []


@pytest.mark.parametrize("other", [OWN[-1], FOREIGN])
def test_one_that_is_not_held_has_all_looked_at(shard: Shard, hashed: list[bytes], other: bytes) -> None:
    """A key that isn't there may be another shard's, and is redirected if it is."""
    keys = [OWN[0], other, OWN[1]]
    found = applied(shard, Read("", keys))
    assert records(found) == [OWN[0], None, OWN[1]]
    assert {place: code for place, (code, _) in found.errors.items()} == (
        {1: "WRONG_SHARD"} if other == FOREIGN else {}
    )
    assert hashed == keys


def test_keys_of_another_index_are_not_held(shard: Shard, hashed: list[bytes]) -> None:
    """A key belongs elsewhere in another index."""
    found = applied(shard, Has("pages", OWN))
    places = [place for place, key in enumerate(OWN) if not in_ranges(slot_of(key, b"pages"), LOW.ranges)]
    assert places
    assert sorted(found.errors) == places
    assert hashed == OWN


def test_what_was_held_when_the_batch_began(shard: Shard) -> None:
    """A key that the batch itself takes away is the shard's own all the same."""
    pop, read = result(shard.apply(7, [Pop("", OWN[:1]), Read("", OWN[:1])]))
    assert (records(pop), pop.errors) == ([OWN[0]], {})
    assert (read.results, read.errors) == ([None], {})
    assert applied(shard, Write("", OWN[:1], [b"again"])).results == [True]
    assert sum(shard.store.histogram(0, SLOTS, 10)) == len(OWN) - 1
