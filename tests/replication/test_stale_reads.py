"""Whether a replica that doesn't lead may answer a read, by value."""

from __future__ import annotations

import pytest
from replication.group_samples import B, C, group_of

from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import of_lease
from pyshard.replication.stale_reads import ShownState, why_no_read


class Shown(ShownState):
    """What a replica shows, at a time of the test's."""

    def __init__(self, committed: int = 7, asked: float | None = 100.0, now: float = 101.0) -> None:
        self.now = now
        super().__init__(lambda: self.now)
        if asked is not None:
            self.shows(committed, asked)


GROUP = group_of("AB")
GONE = ReplicaGroup(6, GROUP.primary, frozenset({GROUP.primary}), GROUP.replicas[:1])


def test_the_bound() -> None:
    """It is twice the lease."""
    assert [of_lease(seconds).staleness for seconds in (3.0, 0.5)] == [6.0, 1.0]


@pytest.mark.parametrize(
    ("shown", "group", "me", "incomplete", "last", "why"),
    [
        (Shown(), GROUP, B, False, 7, ""),
        (Shown(now=106.0), GROUP, B, False, 7, ""),
        (Shown(now=106.1), GROUP, B, False, 7, "6.1 s old, and reads at replicas are at most 6 s old"),
        (Shown(asked=None), GROUP, B, False, 7, "hasn't heard of its primary yet"),
        (Shown(), GROUP, C, False, 7, "hasn't all documents"),
        (Shown(), GROUP, B, True, 7, "hasn't all documents"),
        (Shown(), GONE, B, False, 7, "is no replica of the shard any more"),
        (Shown(), None, B, False, 7, "is no replica of the shard any more"),
        (Shown(), GROUP, B, False, 8, "doesn't know that they are committed"),
    ],
    ids=["new", "old", "too old", "never heard", "learner", "half a copy", "removed", "no group", "not committed"],
)
def test_who_may_answer(
    shown: Shown, group: ReplicaGroup | None, me: str, incomplete: bool, last: int, why: str
) -> None:
    """A member that shows committed groups alone, and knows that these were all there was not long ago."""
    found = why_no_read(shown, group, me, incomplete, last)
    assert why in found
    assert bool(found) is bool(why)


def test_what_is_shown() -> None:
    """Neither the number nor the moment goes back, whatever comes late."""
    shown = Shown()
    assert (shown.committed, shown.age) == (7, 1.0)
    shown.shows(5, 99.0)
    assert (shown.committed, shown.age) == (7, 1.0)
    shown.shows(9, 100.5)
    assert (shown.committed, shown.age) == (9, 0.5)
    shown.forget()
    assert (shown.committed, shown.age) == (0, None)
