"""A shard has what comes for closed slots wait, and plans it anew when they are opened, or have gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from deferreds import result, watch
from shard.states import HALF, HIGH, LOW, STATE, answers, outcomes
from stores import Bench, folder
from twisted.internet.defer import Deferred, fail

from pyshard.errors import BadRequest, WrongShard
from pyshard.model import document_encoding
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import SlotRanges, in_ranges, without
from pyshard.protocol.batch_operations import Has, Increment, Read, Run, Write
from pyshard.settings import settings
from pyshard.shard.parked_requests import ParkedRequests
from pyshard.shard.shard import Shard
from pyshard.storage import Sender

MOVING: SlotRanges = ((HALF // 4, HALF // 2),)
KEYS = [key for key in (b"%d" % number for number in range(200)) if in_ranges(slot_of(key), LOW.ranges)]
SHUT = [key for key in KEYS if in_ranges(slot_of(key), MOVING)]
OPEN = [key for key in KEYS if key not in SHUT]
ONE, TWO = (document_encoding.encode(number)[0] for number in (1, 2))
SENDER = Sender("127.0.0.1", "c1")
REST = without(LOW.ranges, MOVING)


def state_in(epoch: int, low: SlotRanges, **changes: Any) -> ClusterState:
    """A state in which low has these ranges, and high the others of both; the move between them is committed."""
    shards = [attrs.evolve(LOW, ranges=low), attrs.evolve(HIGH, ranges=without(((0, SLOTS),), low))]
    move = RangeMove(1, "low", "high", MOVING, phase=Phase.COMMITTED)
    return attrs.evolve(STATE, epoch=epoch, map=ShardMap(shards), moves=(move,), **changes)


@pytest.fixture(params=["memory", "lmdb"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A store of each kind."""
    with folder() as path:
        made = Bench(request.param, path)
        yield made
        result(made.store.close())


@pytest.fixture
def shard(bench: Bench) -> Shard:
    """The shard called low, with a document for each key."""
    made = Shard(bench.store, bench.clock.seconds)
    made.parked = ParkedRequests(bench.clock)
    shards = ShardMap([attrs.evolve(each, identity=bench.store.identity) for each in STATE.map.shards])
    result(made.configure("low", attrs.evolve(STATE, map=shards)))
    result(made.apply(7, [Write("", KEYS, [b"record"] * len(KEYS))]))
    return made


def identified(shard: Shard, state: ClusterState) -> ClusterState:
    """A state in which the shard's store is who it is."""
    shards = ShardMap([attrs.evolve(each, identity=shard.store.identity) for each in state.map.shards])
    return attrs.evolve(state, map=shards)


def sealed(shard: Shard) -> None:
    """Have the range sealed."""
    result(Deferred.fromCoroutine(shard.seal("move 1", MOVING, 1)))


def unsealed(shard: Shard) -> None:
    """Have the seal taken back."""
    result(Deferred.fromCoroutine(shard.unseal("move 1")))


def asked(shard: Shard, *runs: Run, epoch: int = 7) -> list[Any]:
    """What a batch comes to, when it does."""
    return watch(shard.apply(epoch, runs, SENDER).addCallback(outcomes))


def test_cancelled(shard: Shard) -> None:
    """What waited is done when the seal is taken back, in order. What has no closed slot is done meanwhile."""
    before = shard.operations
    sealed(shard)
    new = asked(shard, Write("", [SHUT[0], OPEN[0]], [b"new"] * 2))
    read = asked(shard, Read("", SHUT[:1]))
    newer = asked(shard, Write("", [OPEN[0]], [b"newer"]))
    assert asked(shard, Write("", [OPEN[1]], [b"other"])) == [[[True]]]
    assert (new, read, newer) == ([], [], [])
    assert (shard.stat()["parked"], shard.operations) == (3, before + 1)
    unsealed(shard)
    assert (new, newer) == ([[[True, True]]], [[[True]]])
    assert read[0][0][0].endswith(b"new")
    assert answers(shard, Read("", [SHUT[0], OPEN[0]])) == [[b"new", b"newer"]]
    assert (shard.stat()["parked"], shard.operations) == (0, before + 7)


def test_committed(shard: Shard) -> None:
    """What waited for slots that have gone is redirected at once; the rest of its batch is done, once."""
    counter = next(key for key in (b"counter %d" % each for each in range(99)) if in_ranges(slot_of(key), REST))
    sealed(shard)
    counted = asked(shard, Increment("", [SHUT[0], counter], [ONE, ONE], [ONE, ONE]))
    page, count = watch(shard.keys(7, "", MOVING[0][0], None)), watch(shard.count(7, "", MOVING[0][0]))
    assert (counted, page, count) == ([], [], [])
    result(shard.configure("low", identified(shard, state_in(8, REST))))
    ((outcome,),) = counted
    assert outcome[0] == "WRONG_SHARD"
    assert answers(shard, Read("", [counter])) == [[TWO]]  # the initial one, and the amount once
    assert [type(each) for each in (*page, *count)] == [WrongShard] * 2
    assert shard.store.ranges.sealed == {}


def test_redirected_before_the_store_has_followed(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client needn't wait until the store has given the slots up, which may take long."""
    sealed(shard)
    new = asked(shard, Write("", SHUT[:1], [b"new"]))
    never: Deferred[None] = Deferred()
    monkeypatch.setattr(shard.store, "own", lambda _: never)
    shard.configure("low", identified(shard, state_in(8, REST)))
    assert new == [[["WRONG_SHARD"]]]


def test_what_was_routed_before_the_slots_came_back(shard: Shard) -> None:
    """It is planned anew with the epoch that it came with."""
    sealed(shard)
    late, new = asked(shard, Write("", SHUT[:1], [b"late"])), asked(shard, Write("", SHUT[:1], [b"new"]))
    assert shard.assignment is not None
    back = attrs.evolve(shard.assignment.state, epoch=9, since=((*MOVING[0], 9),))
    result(shard.configure("low", back))
    unsealed(shard)
    assert (late, new) == ([[["WRONG_SHARD"]]], [[["WRONG_SHARD"]]])
    assert answers(shard, Read("", SHUT[:1]), epoch=9) == [[b"record"]]


def test_pages_and_counts(shard: Shard) -> None:
    """They wait for their slot, and no page passes over what is closed."""
    sealed(shard)
    page, count = watch(shard.keys(7, "", MOVING[0][0], None)), watch(shard.count(7, "", MOVING[0][1] - 1))
    assert (page, count) == ([], [])
    assert result(shard.keys(7, "", 0, None)).slot == MOVING[0][0]
    assert result(shard.count(7, "", 0)) == (len(KEYS), LOW.ranges)
    unsealed(shard)
    assert count == [(len(KEYS), LOW.ranges)]
    assert isinstance(page[0], type(result(shard.keys(7, "", 0, None))))
    assert set(SHUT) <= set(page[0].keys)


def test_while_the_store_seals(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while the seal is on its way into the log waits as well: the store would refuse it."""
    seal, begins = shard.store.seal, Deferred[None]()
    monkeypatch.setattr(shard.store, "seal", lambda *given: begins.addCallback(lambda _: seal(*given)))
    sealing = Deferred.fromCoroutine(shard.seal("move 1", MOVING, 1))
    new = asked(shard, Write("", [SHUT[0], OPEN[0]], [b"new"] * 2))
    assert asked(shard, Has("", OPEN[1:2])) == [[[True]]]
    begins.callback(None)
    result(sealing)
    assert new == []
    unsealed(shard)
    assert new == [[[True, True]]]


def test_a_seal_that_fails(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slots are open then, and what came goes on."""
    sealed(shard)
    unsealed(shard)
    result(shard.store.seal("move 2", ((0, 1),), 5))
    waiting: list[list[Any]] = []
    seal = shard.store.seal

    def asked_meanwhile(*given: Any) -> Deferred[None]:
        waiting.append(asked(shard, Has("", SHUT[:1])))
        return seal(*given)

    monkeypatch.setattr(shard.store, "seal", asked_meanwhile)
    with pytest.raises(BadRequest):
        result(Deferred.fromCoroutine(shard.seal("move 2", MOVING, 4)))
    assert waiting == [[[[True]]]]


def test_slots_that_come(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a target what comes for slots that are committed to it, and aren't its store's yet, waits until they are."""
    result(shard.configure("low", identified(shard, state_in(8, REST))))
    for _ in range(20):
        result(shard.store.sweep(1000))
    own, begins = shard.store.own, Deferred[None]()
    monkeypatch.setattr(shard.store, "own", lambda ranges: begins.addCallback(lambda _: own(ranges)))
    back = state_in(9, LOW.ranges, since=((*MOVING[0], 9),))
    move = RangeMove(2, "high", "low", MOVING, phase=Phase.COMMITTED)
    configured = shard.configure("low", identified(shard, attrs.evolve(back, moves=(move,))))
    new, late = (
        asked(shard, Write("", [key], [b"new"]), epoch=epoch) for key, epoch in zip(SHUT, (9, 8), strict=False)
    )
    assert (new, late) == ([], [[["WRONG_SHARD"]]])
    begins.callback(None)
    result(configured)
    assert new == [[[True]]]


def test_slots_that_do_not_come(shard: Shard, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store can't own them nothing waits for longer, however often the bootstrap tries it."""
    result(shard.configure("low", identified(shard, state_in(8, REST))))
    monkeypatch.setattr(shard.store, "own", lambda _: fail(BadRequest("old records are being removed")))
    move = RangeMove(2, "high", "low", MOVING, phase=Phase.COMMITTED)
    back = identified(shard, attrs.evolve(state_in(9, LOW.ranges, since=((*MOVING[0], 9),)), moves=(move,)))
    waiting: list[Any] = []
    for _ in range(3):
        with pytest.raises(BadRequest):
            result(shard.configure("low", back))
        waiting = waiting or [asked(shard, Has("", SHUT[:1]), epoch=9)]
        bench.clock.advance(settings.PARKED / 2)
    assert waiting == [[[["WRONG_SHARD"]]]]


def test_what_is_elsewhere(shard: Shard) -> None:
    """Keys of other shards are refused at once, as ever, and so are those of an index that there isn't."""
    sealed(shard)
    theirs = next(key for key in (b"%d" % number for number in range(200)) if key not in KEYS)
    assert asked(shard, Has("", [theirs, OPEN[0]])) == [[["WRONG_SHARD", True]]]
    assert asked(shard, Has("gone", SHUT)) == [[["INDEX_NOT_FOUND"] * len(SHUT)]]
    with pytest.raises(WrongShard):
        shard.keys(7, "", slot_of(theirs), None)


def test_for_so_long(shard: Shard, bench: Bench) -> None:
    """A seal that lasts is a refusal soon; so is what comes later, at once."""
    sealed(shard)
    new = asked(shard, Write("", [SHUT[0], OPEN[0]], [b"new"] * 2))
    page = watch(shard.keys(7, "", MOVING[0][0], None))
    bench.clock.advance(settings.PARKED - 0.001)
    assert (new, page) == ([], [])
    bench.clock.advance(0.001)
    assert new == [[["WRONG_SHARD", True]]]
    assert [type(each) for each in page] == [WrongShard]
    assert asked(shard, Has("", SHUT[:1])) == [[["WRONG_SHARD"]]]
    unsealed(shard)
    assert asked(shard, Has("", SHUT[:1])) == [[[True]]]
