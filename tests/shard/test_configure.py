"""A shard that is told its place: what changes with it, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import attrs
import pytest
from deferreds import result
from shard.states import HALF, HIGH, LOW, NEXT, STATE, A, answers, keys_of
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import NotConfigured, StaleEpoch
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.batch_operations import Read, Write
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.shard.assignment import Assignment
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore, Task


def test_not_configured(new: Shard) -> None:
    """Until it is configured a shard refuses everything, and says what to do."""
    runs = [Read("", [A])]
    message = (
        "this shard is not configured yet; start the bootstrap that has its address in its config file "
        "(twistd pyshard-bootstrap --config FILE)"
    )
    for ask in (new.configured, lambda: new.apply(0, runs), lambda: new.keys(0, "", 0, None)):
        with pytest.raises(NotConfigured) as refused:
            ask()
        assert str(refused.value) == message
    assert new.assignment is None


def test_configure(new: Shard) -> None:
    """A configured shard has its assignment, and the indexes that it names."""
    result(new.configure("low", STATE))
    assert new.configured() == new.assignment == Assignment("low", STATE)
    key = keys_of(LOW, "pages")[0]
    assert answers(new, Write("pages", [key], [b"one"]), Read("pages", [key])) == [[True], [b"one"]]


def test_configure_a_store_with_many_others_records(new: Shard) -> None:
    """What lies outside its range is counted, some at a time, and given up."""
    keys = [b"%d" % each for each in range(2500)]
    slots = [slot_of(key) for key in keys]
    result(new.store.apply([Task(Write("", keys, [b"one"] * len(keys)), 0, slots)], 1 << 30, 1 << 30))
    result(new.configure("low", STATE))
    assert new.store.ranges.owned == new.configured().ranges
    assert new.store.documents == sum(1 for slot in slots if slot < HALF)


def test_configure_with_new_indexes(shard: Shard) -> None:
    """A newer state creates and drops indexes."""
    key = keys_of(LOW, "pages")[0]
    assert answers(shard, Write("pages", [key], [b"one"])) == [[True]]
    result(shard.configure("low", STATE.without_index("pages")))
    assert answers(shard, Read("pages", [key])) == [["INDEX_NOT_FOUND"]]
    assert shard.store.documents == 0
    result(shard.configure("low", STATE.without_index("pages").with_index("pages")))
    assert answers(shard, Read("pages", [key])) == [[None]]


def test_refused_configuration_changes_nothing(shard: Shard) -> None:
    """What it refuses leaves its assignment, its indexes and its documents as they are."""
    key = keys_of(LOW, "pages")[0]
    assert answers(shard, Write("pages", [key], [b"one"])) == [[True]]
    remembered = shard.store.recall()
    with pytest.raises(StaleEpoch):
        result(shard.configure("low", attrs.evolve(STATE, epoch=6, indexes={})))
    assert shard.assignment == Assignment("low", STATE)
    assert shard.store.recall() == remembered
    assert answers(shard, Read("pages", [key])) == [[b"one"]]


def test_same_configuration_again(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being told the same again costs nothing: nothing is written."""
    monkeypatch.setattr(shard.store, "remember", None)
    monkeypatch.setattr(shard.store, "set_indexes", None)
    result(shard.configure("low", STATE))
    assert shard.assignment == Assignment("low", STATE)


def test_assignment_is_kept_with_the_documents(shard: Shard, clock: Clock) -> None:
    """A shard that starts with a store that remembers goes on where it was."""
    assert answers(shard, Write("", [A], [b"one"])) == [[True]]
    again = Shard(shard.store, clock.seconds)
    assert again.assignment == Assignment("low", STATE)
    assert answers(again, Read("", [A])) == [[b"one"]]


class SlowStore(MemoryStore):
    """Remembers when the test says so."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.remembering: list[Deferred[None]] = []

    def remember(self, text: bytes) -> Deferred[None]:
        super().remember(text)
        self.remembering.append(Deferred())
        return self.remembering[-1]


def test_the_store_knows_the_range(shard: Shard) -> None:
    """What a shard is assigned its store owns, and refuses all else, whoever asks it."""
    assert shard.store.ranges == StoreRanges(((0, SLOTS // 2),))
    (answer,) = result(shard.store.apply([Task(Read("", [A]), 0, [SLOTS - 1])], 1 << 30, 1 << 20))
    assert answer.errors[0][0] == "WRONG_SHARD"


def test_configured_when_it_is_kept(clock: Clock) -> None:
    """A shard goes by an assignment once its store has it, and not before."""
    store = SlowStore()
    shard = Shard(store, clock.seconds)
    configured: list[None] = []
    shard.configure("low", STATE).addCallback(configured.append)
    assert configured == []
    assert shard.assignment is None
    store.remembering[0].callback(None)
    assert configured == [None]
    assert shard.assignment == Assignment("low", STATE)


def test_configurations_wait_for_each_other(clock: Clock) -> None:
    """However long the store takes to keep one: the newest assignment is the one that stays."""
    store = SlowStore()
    shard = Shard(store, clock.seconds)
    told = [shard.configure("low", state) for state in (STATE, attrs.evolve(STATE, epoch=9), NEXT)]
    for keeping in (0, 1):
        store.remembering[keeping].callback(None)
    assert [result(one) for one in told[:2]] == [None, None]
    with pytest.raises(StaleEpoch, match="this shard has epoch 9; the given epoch 8 is no newer one"):
        result(told[2])
    assert shard.assignment == Assignment("low", attrs.evolve(STATE, epoch=9))
    assert Shard(store, clock.seconds).assignment == shard.assignment


class DyingStore(MemoryStore):
    """Keeps so many more things, and then nothing any more."""

    steps = 3

    def _step(self, deferred: Callable[[], Deferred[None]]) -> Deferred[None]:
        self.steps -= 1
        return deferred() if self.steps >= 0 else Deferred()

    def remember(self, text: bytes) -> Deferred[None]:
        return self._step(partial(super().remember, text))

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0, text: bytes | None = None) -> Deferred[None]:
        return self._step(partial(super().set_indexes, indexes, next_index, text))

    def own(self, ranges: SlotRanges) -> Deferred[None]:
        return self._step(partial(super().own, ranges))


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_ended_while_it_is_configured(clock: Clock, steps: int) -> None:
    """Wherever a shard ends while it takes on an assignment: once it is told again, it has the indexes."""
    store = DyingStore("1d", clock.seconds)
    result(Shard(store, clock.seconds).configure("low", STATE))
    newer = STATE.with_index("links")
    store.steps = steps
    Shard(store, clock.seconds).configure("low", newer)  # it ends here
    store.steps = 3
    again = Shard(store, clock.seconds)
    result(again.configure("low", newer))
    assert again.assignment == Assignment("low", newer)
    key = keys_of(LOW, "links")[0]
    assert answers(again, Write("links", [key], [b"one"]), epoch=8) == [[True]]


def test_configuration_that_cannot_be_kept(clock: Clock) -> None:
    """When the store fails to keep an assignment the shard doesn't go by it."""
    store = SlowStore()
    shard = Shard(store, clock.seconds)
    configuring = shard.configure("low", STATE)
    store.remembering[0].errback(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        result(configuring)
    assert shard.assignment is None


class ToldStore(MemoryStore):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.told: list[str] = []

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0, text: bytes | None = None) -> Deferred[None]:
        self.told.append("indexes" if text is None else "indexes and text")
        return super().set_indexes(indexes, next_index, text)

    def own(self, ranges: SlotRanges) -> Deferred[None]:
        self.told.append("own")
        return super().own(ranges)

    def count_ahead(self, ranges: SlotRanges, most: int) -> Deferred[bool]:
        self.told.append("count")
        return super().count_ahead(ranges, most)

    def remember(self, text: bytes) -> Deferred[None]:
        self.told.append("remember")
        return super().remember(text)


def test_the_store_is_told_what_is_new(clock: Clock) -> None:
    """What it knows it isn't told again: slots may be closed meanwhile, and others' work before it. Once it is, all."""
    store = ToldStore()
    shard = Shard(store, clock.seconds)

    def told(shard: Shard, state: ClusterState) -> list[str]:
        store.told.clear()
        result(shard.configure("low", state))
        return store.told.copy()

    assert [each for each in told(shard, STATE) if each != "count"] == ["indexes", "own", "remember"]
    assert store.told[-3:] == ["own", "count", "remember"]  # at last nothing is counted any more
    assert told(shard, STATE) == []
    assert told(shard, attrs.evolve(STATE, step=1)) == ["count", "remember"]
    pages = attrs.evolve(STATE, epoch=8, indexes={"pages": 1, "more": 2}, next_index=3)
    assert told(shard, pages) == ["indexes and text", "count"]
    dropped = attrs.evolve(STATE, epoch=9, next_index=3)
    assert told(shard, dropped) == ["indexes and text", "count"]
    assert told(shard, attrs.evolve(dropped, epoch=10, next_index=4)) == ["indexes and text", "count"]
    other = attrs.evolve(LOW, ranges=((0, HALF + 9),))
    moved = attrs.evolve(
        dropped, epoch=11, next_index=4, map=ShardMap([other, attrs.evolve(HIGH, ranges=((HALF + 9, SLOTS),))])
    )
    assert told(shard, moved) == ["own", "count", "remember"]
    result(store.own(LOW.ranges))  # as one that ended before it remembered what it owned
    again = Shard(store, clock.seconds)
    assert told(again, attrs.evolve(moved, step=1)) == ["own", "count", "remember"]
    both = attrs.evolve(dropped, epoch=12, next_index=5, indexes={"pages": 4})  # it remembers them when it owns all
    assert [each for each in told(again, both) if each != "count"] == ["indexes", "own", "remember"]
