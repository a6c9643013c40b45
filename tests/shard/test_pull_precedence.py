"""Which connections go first of those over which a member's groups are asked for."""

from __future__ import annotations

from pyshard.shard.pull_precedence import _AT_ONCE, _EACH_SECOND, PullPrecedence

SILENT = 2.0


def asked(precedence: PullPrecedence, owner: str, made: int, now: float, count: int = 1, member: str = "h:1") -> int:
    """How many questions of so many went first, of a member that has all."""
    return sum(precedence.has(member, owner, made, made, made, now, SILENT) for _ in range(count))


def test_as_often_as_there_are_groups() -> None:
    """A member that asks for each new group always goes first; one that only asks, some times."""
    precedence = PullPrecedence()
    assert [asked(precedence, "mine", made, made / 100_000) for made in range(5000)] == [1] * 5000
    precedence = PullPrecedence()
    assert asked(precedence, "mine", 0, 0.0, 10_000) == _AT_ONCE
    assert asked(precedence, "mine", 0, 1.0, 10_000) == _EACH_SECOND
    assert asked(precedence, "mine", 30, 1.0, 10_000) == 30
    assert asked(precedence, "mine", 10**9, 1.0, 10_000) == _AT_ONCE
    assert asked(precedence, "mine", 0, 0.5, 10_000) == 0  # neither number nor time goes back for long


def test_what_was_given_already() -> None:
    """Who doesn't come further, or begins anew in a member's name, waits; who takes what comes next doesn't."""
    precedence, made = PullPrecedence(), 100

    def first(last: int, given: int, member: str = "h:1") -> bool:
        return precedence.has(member, "mine", last, given, made, 0.0, SILENT)

    assert [first(0, 0), first(10, 10), first(20, 20)] == [True] * 3
    assert [first(20, 30), first(21, 30), first(0, 30), first(0, 0), first(29, 0)] == [False] * 5
    assert first(0, 0, member="h:2")
    assert first(30, 30)
    made = 25  # the log was cut meanwhile: there is no more than that
    assert first(25, 0)


def test_one_connection_of_a_member() -> None:
    """The first, until it is lost, or asks nothing any more. Other members don't matter."""
    precedence = PullPrecedence()
    assert asked(precedence, "mine", 0, 0.0)
    assert not asked(precedence, "another", 0, 0.0)
    assert asked(precedence, "third", 0, 0.0, member="h:2")
    assert not asked(precedence, "another", 0, SILENT)
    assert asked(precedence, "another", 0, SILENT + 0.1)
    assert not asked(precedence, "mine", 0, SILENT + 0.1)
    precedence.lost("another")
    assert asked(precedence, "mine", 0, SILENT + 0.1)
    assert asked(precedence, "third", 0, SILENT + 0.1, member="h:2")
