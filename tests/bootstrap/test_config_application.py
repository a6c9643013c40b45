"""A config is applied: shards come, go and have other addresses, and moves are planned or refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import attrs
import pytest
from bootstrap.watching import HIGH, LOW, MAP, Bench, DurableStore
from deferreds import change_state, result, watch
from twisted.internet.defer import Deferred

from pyshard.bootstrap.bootstrap import Condition, ShardReadiness
from pyshard.bootstrap.config_application import ConfigApplication
from pyshard.errors import BadRequest, ConfigError, Overloaded, StaleEpoch, Unavailable
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_plan import Transfer
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.batch_operations import Write
from pyshard.settings import settings
from pyshard.shard.shard import Shard

#: Empty, until there is one.
Outcome: TypeAlias = list[list[int] | BaseException]

QUARTER = SLOTS // 4
THIRD = MapShard("third", ((QUARTER, SLOTS // 2),), 10**6, "127.0.0.1", 5052)


def config(low: SlotRanges, high: SlotRanges, *more: MapShard) -> list[MapShard]:
    """Shards as a config has them."""
    own = {shard.name: shard for shard in MAP.shards}
    return [attrs.evolve(own["low"], ranges=low), attrs.evolve(own["high"], ranges=high), *more]


GROWN = config(((0, QUARTER),), ((SLOTS // 2, SLOTS),), THIRD)


def apply(
    bench: Bench, shards: Iterable[MapShard], order: tuple[int, int] | None = None
) -> list[list[int] | BaseException]:
    """Apply a config, and let a second pass; what comes of it."""
    assert bench.service is not None
    application = ConfigApplication(bench.bootstrap, bench.clock, bench.service.reconcilers.named)
    text = config_text(ClusterConfig(ShardMap(shards), "localhost", 9192))
    applied = watch(Deferred.fromCoroutine(application.apply(text, order or bench.state.order)))
    bench.network.advance(1)
    return applied


@pytest.fixture
def running() -> Bench:
    """Two shards and a bootstrap."""
    return Bench().running()


def until_done(bench: Bench) -> None:
    """Let time pass until nothing moves any more."""
    for _ in range(1000):
        if not bench.state.moves:
            return
        bench.network.advance(0.05)
    raise AssertionError(bench.state.moves)


def test_a_shard_is_added(running: Bench) -> None:
    """It is configured, asked, and takes its part; then the cluster is as the config says."""
    running.start_shard("third", own=THIRD)
    assert apply(running, GROWN) == [[1]]
    until_done(running)
    assert running.state.map.named("third") == attrs.evolve(THIRD, identity="store3")
    assert [shard.ranges for shard in running.state.map.shards] == [shard.ranges for shard in ShardMap(GROWN).shards]
    assert running.conditions() == [Condition.READY] * 3
    before = running.state
    assert apply(running, GROWN) == [[]]
    assert running.state == before


def test_many_that_wait(running: Bench) -> None:
    """Some wait for a shard that isn't there; all further ones are refused at once, until those have failed."""
    assert running.service is not None
    application = ConfigApplication(running.bootstrap, running.clock, running.service.reconcilers.named)
    text = config_text(ClusterConfig(ShardMap(GROWN), "localhost", 9192))
    asked = []
    for _ in range(10):
        asked.append(watch(Deferred.fromCoroutine(application.apply(text, running.state.order))))
        running.network.settle()
    assert [type(each[0]) for each in asked if each] == [Overloaded] * 2
    running.network.advance(settings.TIMEOUT + 1)
    assert [type(each[0]) for each in asked] == [Unavailable] * 8 + [Overloaded] * 2
    running.start_shard("third", own=THIRD)
    running.network.advance(5)
    assert apply(running, GROWN) == [[1]]


def test_a_shard_goes(running: Bench, log_lines: list[str]) -> None:
    """It gives up what it has; applied again, the config has it leave the map, and nobody dials it any more."""
    running.start_shard("third", own=THIRD)
    apply(running, GROWN)
    until_done(running)
    shrunk = config(((0, SLOTS // 2),), ((SLOTS // 2, SLOTS),))
    assert apply(running, shrunk) == [[2]]
    until_done(running)
    assert running.state.map.named("third") == attrs.evolve(THIRD, identity="store3", ranges=())
    assert apply(running, shrunk) == [[]]
    assert running.state.map.named("third") is None
    assert running.conditions() == [Condition.READY] * 2
    assert running.service is not None
    assert running.service.reconcilers.named("third") is None
    running.network.cut(THIRD.host, THIRD.port)
    running.network.advance(100)
    assert not [line for line in log_lines if "shard third" in line and "unreachable" in line]
    assert running.everybody_knows()


def test_a_target_that_is_gone_for_good(running: Bench) -> None:
    """When its move was cancelled a config may leave it out, and what the source keeps for the move goes, too."""
    running.start_shard("third", own=THIRD)
    apply(running, GROWN)
    while not running.shards["low"].followers.names:
        running.network.advance(0.01)
    running.kill_shard("third")
    (move,) = running.state.moves
    change_state(running.bootstrap, running.state.with_move(move.sealing()))
    running.network.advance(0.01)
    ranges = [running.shards["low"].shard.store.ranges.sealed]
    change_state(running.bootstrap, running.state.with_move(running.state.moves[0].cancelled("it is gone")))
    assert apply(running, MAP.shards) == [[]]
    assert (running.state.map.named("third"), running.state.moves) == (None, ())
    assert [bool(sealed) for sealed in (*ranges, running.shards["low"].shard.store.ranges.sealed)] == [True, False]
    assert not running.shards["low"].followers.names


def test_another_address(running: Bench) -> None:
    """A shard is dialed where the config says now, and not where it was."""
    shard = running.shards["high"].shard
    running.kill_shard("high")
    elsewhere = attrs.evolve(MAP.shards[1], port=6000)
    running.start_shard("high", shard.store, own=elsewhere)
    running.network.advance(60)
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    assert apply(running, [MAP.shards[0], elsewhere]) == [[]]
    running.network.advance(1)
    assert running.conditions() == [Condition.READY] * 2
    assert (running.state.map.shards[1].port, running.everybody_knows()) == (6000, True)


def test_addresses_are_swapped(running: Bench) -> None:
    """Each name is dialed at its new address; which store is there decides whether it is taken."""
    swapped = [attrs.evolve(MAP.shards[0], port=HIGH[1]), attrs.evolve(MAP.shards[1], port=LOW[1])]
    assert apply(running, swapped) == [[]]
    assert running.conditions() == [Condition.REFUSED] * 2
    assert apply(running, MAP.shards) == [[]]
    running.network.advance(60)
    assert running.conditions() == [Condition.READY] * 2


def test_another_address_and_moves(running: Bench) -> None:
    """A shard that is to give something at its new address is waited for there, and isn't ready before."""
    running.start_shard("third", own=THIRD)
    shard = running.shards["low"].shard
    running.kill_shard("low")
    elsewhere = attrs.evolve(GROWN[0], port=6000)
    running.network.delay("127.0.0.1", 6000, 0.2)
    running.start_shard("low", shard.store, own=elsewhere)
    seen = list[list[ShardReadiness]]()
    running.bootstrap.on_change(lambda: seen.append(running.bootstrap.readiness()))
    applied = apply(running, [elsewhere, *GROWN[1:]])
    assert seen[0][0] == ShardReadiness("low", "127.0.0.1:6000", Condition.UNREACHABLE, "not reached yet")
    running.network.advance(1)
    assert applied == [[1]]
    until_done(running)
    assert running.conditions() == [Condition.READY] * 3
    assert [shard.port for shard in running.state.map.shards] == [6000, 5052, 5051]


def test_who_is_not_there(running: Bench) -> None:
    """It is waited for, for a while; then all is refused, in a line that says what to do."""
    applied = apply(running, GROWN)
    assert applied == []
    running.network.advance(10)
    (error,) = applied
    assert isinstance(error, Unavailable)
    assert str(error) == (
        "shard 'third' at 127.0.0.1:5052 is unreachable (connection refused), so nothing can move to or from it; start "
        "it, and try again"
    )
    assert not running.state.moves
    running.start_shard("third", own=THIRD)
    running.network.advance(60)
    assert apply(running, GROWN) == [[1]]


def test_a_target_that_is_full(running: Bench) -> None:
    """What has no room is refused before anything moves."""
    own = attrs.evolve(THIRD, limit=10)
    running.start_shard("third", own=own)
    store = running.shards["low"].shard.store
    write(running.shards["low"].shard)
    assert store.documents == 1
    (error,) = apply(running, config(((0, QUARTER),), ((SLOTS // 2, SLOTS),), own))
    assert isinstance(error, BadRequest)
    assert "'third' has room for 10 bytes" in str(error)
    assert not running.state.moves


def test_a_target_that_is_to_get_more_already(running: Bench) -> None:
    """What is on its way to it takes its room, too: the second of two moves that don't fit together is refused."""
    own = attrs.evolve(THIRD, limit=200)
    running.start_shard("third", own=own)
    write(running.shards["low"].shard)
    write(running.shards["low"].shard, 0, QUARTER)
    assert apply(running, config(((0, QUARTER),), ((SLOTS // 2, SLOTS),), own)) == [[1]]
    change_state(running.bootstrap, running.state.with_move(running.state.moves[0].waiting(paused=True)))
    more = attrs.evolve(own, ranges=((100, SLOTS // 2),))
    (error,) = apply(running, config(((0, 100),), ((SLOTS // 2, SLOTS),), more))
    assert isinstance(error, BadRequest)
    assert "'third' has room for 200 bytes, and is to get about 2" in str(error)
    assert len(running.state.moves) == 1


@pytest.mark.parametrize("limit", [10, 10**6], ids=["less than before", "more than before"])
def test_a_config_that_changes_the_room(running: Bench, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """What counts is the room that the target has by the config. It may say another one: it isn't told yet."""
    before = attrs.evolve(THIRD, limit=10**6 + 10 - limit, ranges=())
    running.start_shard("third", own=before)
    write(running.shards["low"].shard)
    shards = config(((0, SLOTS // 2),), ((SLOTS // 2, SLOTS),), before)
    assert apply(running, shards) == [[]]
    third = running.shards["third"].shard
    stat = third.stat()
    monkeypatch.setattr(third, "stat", lambda: stat)
    (outcome,) = apply(running, config(((0, QUARTER),), ((SLOTS // 2, SLOTS),), attrs.evolve(THIRD, limit=limit)))
    if limit == 10:
        assert isinstance(outcome, BadRequest)
        assert "'third' has room for 10 bytes" in str(outcome)
    else:
        assert outcome == [1]


def test_a_shard_that_leaves_meanwhile(running: Bench) -> None:
    """Another config has it leave while it is waited for: that is said in one line, and nothing is planned."""
    applied = apply(running, GROWN)
    assert applied == []
    assert apply(running, MAP.shards) == [[]]
    (error,) = applied
    assert isinstance(error, BadRequest)
    assert str(error) == "shard 'third' has left the cluster meanwhile; look at the plan again"
    assert not running.state.moves


@pytest.mark.parametrize("field", [{"documents": 10**400}, {"bytes": 10**400}, {"histogram": [[10**400]]}])
def test_numbers_past_all_bounds(running: Bench, monkeypatch: pytest.MonkeyPatch, field: dict[str, object]) -> None:
    """A shard that counts more than there can be is refused in a line that names it."""
    running.start_shard("third", own=THIRD)
    low = running.shards["low"].shard
    write(low)
    stat = low.stat() | field
    monkeypatch.setattr(low, "stat", lambda: stat)
    (error,) = apply(running, GROWN)
    assert isinstance(error, Unavailable)
    assert str(error).startswith("shard 'low' says of itself what can't be read, so nothing can be planned (its ")


def test_not_durable(running: Bench) -> None:
    """What is on a disk doesn't move into memory."""
    bench = Bench()
    bench.start_shard("low", DurableStore("1d", bench.clock.seconds))
    bench.start_shard("high")
    bench.start_shard("third", own=THIRD)
    bench.start_bootstrap()
    bench.network.advance(1)
    (error,) = apply(bench, GROWN)
    assert isinstance(error, BadRequest)
    assert "'third' keeps its documents in memory, and 'low' on a disk" in str(error)


def test_another_state(running: Bench) -> None:
    """What was planned for another state is refused, and so is what others plan while shards are asked."""
    (error,) = apply(running, GROWN, order=(1, 0))
    assert isinstance(error, StaleEpoch)
    assert "by now, and this was planned for epoch 1, step 0" in str(error)
    applied = apply(running, GROWN)
    assert applied == []  # the third isn't there yet
    change_state(
        running.bootstrap, running.state.with_moves([Transfer("low", "high", ((SLOTS // 2 - 1, SLOTS // 2),))])
    )
    running.start_shard("third", own=THIRD)
    running.network.advance(4)
    (error,) = applied
    assert isinstance(error, StaleEpoch)
    assert "have changed meanwhile" in str(error)
    assert running.state.map.named("third") == attrs.evolve(THIRD, identity="store3", ranges=())


def test_no_config(running: Bench) -> None:
    """Text that is no config changes nothing."""
    assert running.service is not None
    application = ConfigApplication(running.bootstrap, running.clock, running.service.reconcilers.named)
    before = running.state
    with pytest.raises(BadRequest, match="config: found text that is not JSON"):
        result(Deferred.fromCoroutine(application.apply(b"{", before.order)))
    assert running.state == before


def test_no_room_for_the_state(running: Bench) -> None:
    """What can't be saved hasn't happened."""
    running.start_shard("third", own=THIRD)
    running.fill_disk()
    (error,) = apply(running, GROWN)
    assert isinstance(error, ConfigError)
    assert running.state.map.named("third") is None


def test_while_it_moves(running: Bench) -> None:
    """What moves already isn't planned again; to have it otherwise, it is cancelled or waited for first."""
    change_state(running.bootstrap, running.state.with_moves([Transfer("low", "high", ((QUARTER, SLOTS // 2),))]))
    change_state(running.bootstrap, running.state.with_move(running.state.moves[0].waiting(paused=True)))
    after = config(((0, QUARTER),), ((QUARTER, SLOTS),))
    assert apply(running, after) == [[]]
    (error,) = apply(running, MAP.shards)
    assert isinstance(error, BadRequest)
    assert str(error) == "move: found [0.25, 0.5), which move 1 has already; wait for it, or cancel it"
    assert len(running.state.moves) == 1


def write(shard: Shard, start: int = QUARTER, end: int = SLOTS // 2) -> None:
    """Have a document in the quarter that is to move, or between other slots."""
    key = next(b"key %d" % number for number in range(1000) if start <= slot_of(b"key %d" % number) < end)
    result(shard.apply(0, [Write("", [key], [b"\xa1x"])]))
