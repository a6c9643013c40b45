"""What a shard does for moves, and when."""

from __future__ import annotations

from random import Random

import attrs
import pytest
from deferreds import result
from shard.states import HALF, NEXT
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, ShardBehind
from pyshard.model.key_slots import slot_of
from pyshard.model.range_moves import RangeMove, StoreId
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import Change
from pyshard.settings import settings
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.shard import Shard
from pyshard.shard.shard_moves import ShardMoves
from pyshard.testing import MemoryNetwork

MOVE = RangeMove(1, "low", "high", ((0, HALF),)).begun(StoreId("1d", "a"), StoreId("2e", "b")).sealing()


def test_sealed_when_it_is_remembered_why(shard: Shard, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is killed once it is sealed knows so after its restart, and stays sealed until it is told more."""
    ShardMoves(shard, ServedFollowers(shard.store, clock), clock, None, Random(1))
    remembered: Deferred[None] = Deferred()
    monkeypatch.setattr(shard.store, "remember", lambda _: remembered)
    configured = shard.configure("low", attrs.evolve(NEXT, moves=(MOVE,), next_move=2))
    assert not shard.store.ranges.sealed
    remembered.callback(None)
    result(configured)
    assert shard.store.ranges.sealed["move 1"].attempt == 1


def test_what_comes_while_something_is_done(shard: Shard, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal that is taken back while it is made is taken back behind that, though the bootstrap asks for nothing."""
    ShardMoves(shard, ServedFollowers(shard.store, clock), clock, None, Random(1))
    seal, waiting = shard.store.seal, Deferred[None]()

    def slow(name: str, ranges: SlotRanges, attempt: int) -> Deferred[None]:
        return waiting.addCallback(lambda _: seal(name, ranges, attempt))

    monkeypatch.setattr(shard.store, "seal", slow)
    result(shard.configure("low", attrs.evolve(NEXT, moves=(MOVE,), next_move=2)))
    result(shard.configure("low", attrs.evolve(NEXT, step=1, moves=(MOVE.unsealed("late"),), next_move=2)))
    waiting.callback(None)
    assert not shard.store.ranges.sealed


def test_nothing_begins_behind_the_end(shard: Shard, clock: Clock) -> None:
    """A state that comes while the shard stops has nobody dialed, and the store does nothing for it."""
    dialed: list[int] = []
    network = MemoryNetwork(clock)

    def dial(host: str, port: int) -> IStreamClientEndpoint:
        dialed.append(port)
        return network.dial(host, port)

    taken = RangeMove(2, "high", "low", ((HALF, HALF + 1),)).begun(StoreId("2e", "b"), StoreId("1d", "a"))
    moves = ShardMoves(shard, ServedFollowers(shard.store, clock), clock, dial, Random(1))
    result(shard.configure("low", attrs.evolve(NEXT, moves=(taken,), next_move=3)))
    assert dialed == [5051]
    moves.close()
    result(shard.configure("low", attrs.evolve(NEXT, step=1, moves=(MOVE, taken), next_move=3)))
    moves.update()
    assert dialed == [5051]
    assert not shard.store.ranges.sealed


def test_a_failure_of_an_earlier_copy(shard: Shard, clock: Clock) -> None:
    """Why a pull doesn't go on is told, and whether that is of its present copy."""
    taken = RangeMove(2, "high", "low", ((HALF, HALF + 1),)).begun(StoreId("2e", "b"), StoreId("1d", "a"))
    moves = ShardMoves(shard, ServedFollowers(shard.store, clock), clock, MemoryNetwork(clock).dial, Random(1))
    result(shard.configure("low", attrs.evolve(NEXT, moves=(taken,), next_move=3)))
    progress = moves._pulling["move 2"].pull.progress
    for copies in (1, 2):
        progress.begin(0, clock.seconds())
        report = moves.reports().taken[2]
        assert (report.copies, report.failed, report.error) == (copies, False, "connection refused")
        clock.advance(10)  # it is dialed again
        report = moves.reports().taken[2]
        assert (report.copies, report.failed, report.error) == (copies, True, "connection refused")
    progress.add(1, 100, clock.seconds())
    report = moves.reports().taken[2]
    assert (report.copies, report.failed, report.error) == (2, False, "")
    moves.close()


def test_lines_of_a_pull(shard: Shard, clock: Clock, log_lines: list[str]) -> None:
    """A source that words each refusal anew has few lines in the log."""
    taken = RangeMove(2, "high", "low", ((HALF, HALF + 1),)).begun(StoreId("2e", "b"), StoreId("1d", "a"))
    moves = ShardMoves(shard, ServedFollowers(shard.store, clock), clock, MemoryNetwork(clock).dial, Random(1))
    result(shard.configure("low", attrs.evolve(NEXT, moves=(taken,), next_move=3)))
    for number in range(1000):
        moves._pulling["move 2"].disconnected(f"reason {number} " + "x" * 60_000)
        clock.advance(0.1)
    lines = [line for line in log_lines if "from high waits" in line]
    assert 5 < len(lines) <= 5 + settings.SHARD_LINES * 100
    assert all(len(line) < 700 for line in lines)
    moves.close()


def test_only_what_goes_on_is_reported(shard: Shard, clock: Clock) -> None:
    """Hundreds of moves may wait for their turn: to ask about them 20 times a second would be much work."""
    moves = [attrs.evolve(MOVE, number=1).unsealed("late")]
    moves += [RangeMove(number, "low", "high", ((number, number + 1),)) for number in range(2, 500)]
    result(shard.configure("low", attrs.evolve(NEXT, moves=tuple(moves), next_move=500)))
    shard_moves = ShardMoves(shard, ServedFollowers(shard.store, clock), clock, None, Random(1))
    assert list(shard_moves.reports().given) == [1]
    result(shard.configure("low", attrs.evolve(NEXT, step=1, moves=tuple(moves[1:]), next_move=500)))
    assert list(shard_moves.reports().given) == [2]
    cancelled = RangeMove(1, "high", "low", ((HALF, HALF + 1),)).cancelled("why")
    result(shard.configure("low", attrs.evolve(NEXT, step=2, moves=(cancelled, *moves[1:]), next_move=500)))
    reports = shard_moves.reports()
    assert (list(reports.given), list(reports.taken)) == ([2], [1]), "who has something left of it, a bootstrap knows"


def test_rows_are_checked(shard: Shard, clock: Clock) -> None:
    """What a pull takes is checked with the indexes that the shard was told of."""
    taken = RangeMove(2, "high", "low", ((HALF, HALF + 1),)).begun(StoreId("2e", "b"), StoreId("1d", "a"))
    moves = ShardMoves(shard, ServedFollowers(shard.store, clock), clock, MemoryNetwork(clock).dial, Random(1))
    result(shard.configure("low", attrs.evolve(NEXT, moves=(taken,), next_move=3)))
    check = moves._pulling["move 2"].pull._check
    with pytest.raises(BadRequest, match="found for key 'k' slot 0"):
        check([Change(0, 0, b"k", 1, 0, None)])
    with pytest.raises(ShardBehind):
        check([Change(NEXT.next_index, 0, b"k", 1, 0, None)])
    check([Change(0, slot_of(b"k"), b"k", 1, 0, None)])
    moves.close()
