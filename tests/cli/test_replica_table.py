"""How replicas are shown by `pyshard replica list`."""

from __future__ import annotations

import attrs

from pyshard.cli.replica_table import group_warnings, replica_table
from pyshard.protocol.listed_replicas import ListedGroup, ListedReplica

LEADS = ListedReplica("10.0.0.1:5050", "primary", True, 0.1, True, complete=True, behind=0)
LEARNS = ListedReplica("10.0.0.2:5050", "learner", True, 0.1, True)


def states(*replicas: ListedReplica) -> tuple[list[str], list[str]]:
    """What the table has as states, and the lines below it."""
    group = ListedGroup("low", 3, 1, 3.0, replicas)
    return [str(cell) for cell in replica_table([group]).columns[-1].cells], group_warnings([group])


def test_a_slow_member() -> None:
    """It is told of below the table, and nobody takes the group for one where all is well."""
    slow = "changes wait long for 10.0.0.2:5050 alone; see its disk, its machine and the network to it"
    other = attrs.evolve(LEARNS, role="member", complete=True)
    assert states(attrs.evolve(LEADS, slow=slow), other) == (["up", "up"], [f"low: {slow}"])
    assert ListedGroup("low", 3, 1, 3.0, (LEADS, other)).whole
    assert not ListedGroup("low", 3, 1, 3.0, (attrs.evolve(LEADS, slow=slow), other)).whole


def test_a_copy() -> None:
    """A copy is told as such. When it is begun again, it is said for which time, and that others came to nothing."""
    missing = "low: 1 of 2 replicas have all documents"
    assert states(LEADS, attrs.evolve(LEARNS, copies=1)) == (["up", "is being copied to"], [missing])
    why = "low, 10.0.0.2:5050: a copy was begun 1,000 times, and none before came to its end, or was caught up with"
    again = attrs.evolve(LEARNS, copies=1000)
    assert states(LEADS, again) == (["up", "is being copied to, time 1,000"], [missing, why])
    assert states(LEADS, attrs.evolve(again, complete=True))[0] == ["up", "up"]
    assert states(attrs.evolve(again, role="member", complete=True))[1] == []
