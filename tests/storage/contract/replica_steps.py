"""What tests of a store as one of several replicas do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stores import Bench
from twisted.internet.defer import Deferred

from pyshard.protocol.batch_operations import Has
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.storage import IFollowingReplica


def lead(bench: Bench, ballot: int) -> int:
    """Have a store lead; the number of its first group."""
    bench.result(bench.store.promise(ballot))
    return bench.result(bench.store.lead(ballot))


def follow(bench: Bench, other: Bench, ballot: int) -> IFollowingReplica:
    """Have a store be a member that has all of the primary, from a copy, and knows it as committed."""
    bench.result(bench.store.commit(bench.store.position.sequence))
    other.result(other.store.promise(ballot))
    other.result(other.store.be_member())
    load_copy(bench, other)
    return bench.store.follow_as_replica("m", other.store.position.sequence, other.store.log_format)


def load_copy(bench: Bench, other: Bench) -> None:
    """Load a copy."""
    copy = bench.result(bench.store.copy("m"))
    other.result(other.store.begin_copy(copy.head))
    while (page := copy.page(100)) != []:
        other.result(other.store.load_page(page or []))
    copy.close()
    other.result(other.store.end_copy())


def next_groups(follower: IFollowingReplica, most_bytes: int) -> Deferred[Sequence[ReplicatedGroup]]:
    """The next groups that a replica is given."""

    async def given() -> Sequence[ReplicatedGroup]:
        return await follower.groups(most_bytes)

    return Deferred.fromCoroutine(given())


def pull(bench: Bench, other: Bench, follower: IFollowingReplica) -> list[ReplicatedGroup]:
    """Have a member append what the primary has made since."""
    found: list[ReplicatedGroup] = []
    while other.store.position != bench.store.position:
        groups = bench.result(next_groups(follower, 1))
        other.result(other.store.append(groups))
        found += groups
    return found


def keys_of(bench: Bench, *keys: bytes) -> list[Any]:
    """Which keys are there."""
    (found,) = bench.answers(Has("", list(keys)))
    return [key for key, there in zip(keys, found, strict=True) if there is True]


# -- alone ----------------------------------------------------------------------------------------------------------
