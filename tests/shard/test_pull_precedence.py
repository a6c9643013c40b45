"""Which connections go first of those over which a member's groups are asked for."""

from __future__ import annotations

from pyshard.shard.pull_precedence import _AT_ONCE, _EACH_SECOND, PullPrecedence

SILENT = 2.0


def asked(precedence: PullPrecedence, owner: str, made: int, now: float, count: int = 1, member: str = "h:1") -> int:
    """How many questions of so many went first."""
    return sum(precedence.has(member, owner, made, now, SILENT) for _ in range(count))


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
