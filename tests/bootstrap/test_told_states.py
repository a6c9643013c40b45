"""Who waits for a state waits until every shard in reach has it, and for nothing that comes after it."""

from __future__ import annotations

from deferreds import result
from twisted.internet.defer import Deferred

from pyshard.bootstrap.told_states import NOTHING_TOLD, ToldStates

OLD, NEXT, NEWEST = (7, 3), (8, 0), (8, 1)


def test_the_last_shard_counts() -> None:
    """A state has settled when the last one has it, or a later one."""
    states = ToldStates[str]()
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
    """In whichever order they ask."""
    states = ToldStates[str]()
    states.tell("a", OLD)
    newest, old, following = states.wait(NEWEST), states.wait(OLD), states.wait(NEXT)
    assert [each.called for each in (old, following, newest)] == [True, False, False]
    states.tell("a", NEXT)
    assert [each.called for each in (old, following, newest)] == [True, True, False]
    states.tell("a", NEWEST)
    assert newest.called


def test_shards_out_of_reach() -> None:
    """Nobody waits for them; for one that has come back, until it was told."""
    states = ToldStates[str]()
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
    states, seen = ToldStates[str](), list[str]()
    states.tell("a", OLD)
    states.wait(NEXT).addCallback(lambda _: states.wait(NEWEST).addCallback(lambda _: seen.append("newest")))
    states.tell("a", NEXT)
    seen.append("next")
    states.tell("a", NEWEST)
    assert seen == ["next", "newest"]


def test_shard_that_comes_while_somebody_is_let_go() -> None:
    """Who waits behind that waits for it, too."""
    states, following = ToldStates[str](), list[Deferred[None]]()

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
    states = ToldStates[str]()
    for epoch in range(1, 1000):
        for shard in "ab":
            states.tell(shard, (epoch, 0))
    assert len(states._orders) < 10
