"""Small updates while large ones wait for their time: they are committed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.durable.writer_bench import Reactor
from twisted.internet.defer import Deferred

from pyshard.settings import settings
from pyshard.storage.durable.group_commit import Committed, GroupCommit
from pyshard.storage.interface import Sender


def test_a_small_one_behind_a_large_one_that_waits() -> None:
    """A large update that leaves time to others doesn't hold up a small one that comes behind it."""
    reactor, committed, now = Reactor(), list[int](), [0.0]

    def commit(updates: Sequence[int]) -> Committed:
        committed.extend(updates)
        now[0] += 0.01
        if 1 in updates:
            small.append(writer.submit(100, 2000, 1, Sender("other", "1")))
        return Committed(list(updates))

    small: list[Deferred[Any]] = []
    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread, steady=lambda: now[0])
    writer.hold_large(1)  # until both wait
    large = [
        writer.submit(number, settings.MAX_GROUP_BYTES - 1, 1000, Sender(f"large {number}", "1")) for number in (1, 2)
    ]
    writer.hold_large(0)
    reactor.until(large[0])
    assert reactor.until(small[0]) == 100
    assert reactor.until(large[1]) == 2
    assert committed == [1, 100, 2]
    reactor.until(writer.close())
