"""Who waits for a state waits until every shard in reach has it, but not for ever, and for no state after it."""

from __future__ import annotations

from deferreds import result
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap.told_states import _LEFT_OUT, NOTHING_TOLD, ToldStates
from pyshard.settings import settings

OLD, NEXT, NEWEST = (7, 3), (8, 0), (8, 1)


def test_the_last_shard_counts() -> None:
    """A state has settled when the last one has it, or a later one."""
    states = ToldStates[str](Clock())
    for shard in "abc":
        states.tell(shard, OLD)
    waits = states.wait(NEXT)
    states.tell("b", NEXT)
    states.tell("a", NEWEST)
    assert not waits.called
    states.tell("c", NEXT)
    assert result(waits) is None
    assert [states.told(shard) for shard in "abcd"] == [NEWEST, NEXT, NEXT, NOTHING_TOLD]


def test_each_waits_for_its_own_state() -> None:
    """Those who asked before, for older states, are let go before."""
    states = ToldStates[str](Clock())
    states.tell("a", OLD)
    old, following, newest = states.wait(OLD), states.wait(NEXT), states.wait(NEWEST)
    assert [each.called for each in (old, following, newest)] == [True, False, False]
    states.tell("a", NEXT)
    assert [each.called for each in (old, following, newest)] == [True, True, False]
    states.tell("a", NEWEST)
    assert newest.called


def test_older_state_behind_a_newer_one() -> None:
    """Who asks for it is let go with those who asked before."""
    states = ToldStates[str](Clock())
    states.tell("a", OLD)
    newest, following = states.wait(NEWEST), states.wait(NEXT)
    states.tell("a", NEXT)
    assert [each.called for each in (newest, following)] == [False, False]
    states.tell("a", NEWEST)
    assert [each.called for each in (newest, following)] == [True, True]


def test_shards_that_come_and_go_in_turn() -> None:
    """One of them is always in reach, and none takes the state on: who waits is let go when its time is over."""
    clock = Clock()
    states = ToldStates[str](clock)
    states.tell("a", NOTHING_TOLD)
    first = states.wait(NEXT)
    clock.advance(1)
    second = states.wait(NEXT)
    for leaves, comes in ("ab", "ba") * 50:
        states.tell(comes, NOTHING_TOLD)
        states.forget(leaves)
        clock.advance((settings.TIMEOUT - 1.5) / 100)
    assert not first.called
    clock.advance(0.5)
    assert [each.called for each in (first, second)] == [True, False]
    clock.advance(1)
    assert result(second) is None
    assert states.told("a") == NOTHING_TOLD


def test_shards_that_were_late() -> None:
    """Nobody waits for them in the next minutes, wherever they are; what they have is known all the same."""
    clock = Clock()
    states = ToldStates[str](clock)
    for shard in "abc":
        states.tell(shard, OLD)
    waits = states.wait(NEXT)
    states.leave_out("a")
    states.tell("b", NEXT)
    assert not waits.called
    states.forget("c")
    states.leave_out("c")
    states.tell("c", NOTHING_TOLD)
    assert result(waits) is None
    assert [states.told(shard) for shard in "abc"] == [OLD, NEXT, NOTHING_TOLD]
    assert sorted(states.shards) == ["a", "b", "c"]
    assert states.wait(NEXT).called
    clock.advance(_LEFT_OUT)
    states.tell("a", NEXT)
    assert not states.wait(NEWEST).called
    states.leave_out("b")
    assert [*states._left_out] == ["b"]


def test_nothing_is_kept_of_who_was_let_go() -> None:
    """Neither who waited nor the clock's call, whether the shard was told or the time was over."""
    clock = Clock()
    states = ToldStates[str](clock)
    states.tell("a", OLD)
    for _ in range(3):
        states.wait(NEXT)
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(settings.TIMEOUT)
    assert (len(states._waiters), clock.getDelayedCalls()) == (0, [])
    states.wait(NEXT)
    states.tell("a", NEXT)
    assert (len(states._waiters), clock.getDelayedCalls()) == (0, [])


def test_shards_out_of_reach() -> None:
    """Nobody waits for them; for one that has come back, until it was told."""
    states = ToldStates[str](Clock())
    assert result(states.wait(NEWEST)) is None
    states.tell("a", OLD)
    states.tell("b", NEXT)
    waits = states.wait(NEXT)
    states.forget("a")
    assert result(waits) is None
    states.forget("a")
    states.tell("a", NOTHING_TOLD)
    back = states.wait(NEXT)
    assert not back.called
    states.tell("a", NEXT)
    assert result(back) is None
    assert sorted(states.shards) == ["a", "b"]


def test_who_waits_no_longer_may_ask_again() -> None:
    """What follows a state may wait for the next one at once."""
    states, seen = ToldStates[str](Clock()), list[str]()
    states.tell("a", OLD)
    states.wait(NEXT).addCallback(lambda _: states.wait(NEWEST).addCallback(lambda _: seen.append("newest")))
    states.tell("a", NEXT)
    seen.append("next")
    states.tell("a", NEWEST)
    assert seen == ["next", "newest"]


def test_shard_that_comes_while_somebody_is_let_go() -> None:
    """Who waits behind that waits for it, too."""
    states, following = ToldStates[str](Clock()), list[Deferred[None]]()

    def come(_: None) -> None:
        states.tell("b", NOTHING_TOLD)
        following.append(states.wait(NEXT))

    states.tell("a", OLD)
    states.wait(NEXT).addCallback(come)
    states.tell("a", NEXT)
    assert not following[0].called
    states.tell("b", NEXT)
    assert result(following[0]) is None


def test_states_that_nobody_has_any_more() -> None:
    """They aren't kept, however many there were."""
    states = ToldStates[str](Clock())
    for epoch in range(1, 1000):
        for shard in "ab":
            states.tell(shard, (epoch, 0))
    assert len(states._orders) < 10
