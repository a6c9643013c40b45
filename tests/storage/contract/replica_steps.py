"""What tests of a store as one of several replicas do with it."""

from __future__ import annotations

from typing import Any

from stores import Bench

from pyshard.protocol.batch_operations import Has
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.storage import IFollower


def lead(bench: Bench, ballot: int) -> int:
    """Have a store lead; the number of its first group."""
    bench.result(bench.store.promise(ballot))
    return bench.result(bench.store.lead(ballot))


def follow(bench: Bench, other: Bench, ballot: int) -> IFollower:
    """Have a store be a member that has all of the primary, from a copy, and knows it as committed."""
    bench.result(bench.store.commit(bench.store.position.sequence))
    other.result(other.store.promise(ballot))
    other.result(other.store.be_member())
    load_copy(bench, other)
    return bench.store.follow("m", other.store.position.sequence, uncommitted=True)


def load_copy(bench: Bench, other: Bench) -> None:
    """Load a copy."""
    copy = bench.result(bench.store.copy("m"))
    other.result(other.store.begin_copy(copy.head))
    while (page := copy.page(100)) != []:
        other.result(other.store.load_page(page or []))
    copy.close()
    other.result(other.store.end_copy())


def pull(bench: Bench, other: Bench, follower: IFollower) -> list[ChangeGroup]:
    """Have a member append what the primary has made since."""
    found: list[ChangeGroup] = []
    while other.store.position != bench.store.position:
        groups = bench.result(follower.groups(1))
        other.result(other.store.append(groups))
        found += groups
    return found


def keys_of(bench: Bench, *keys: bytes) -> list[Any]:
    """Which keys are there."""
    (found,) = bench.answers(Has("", list(keys)))
    return [key for key, there in zip(keys, found, strict=True) if there is True]


# -- alone ----------------------------------------------------------------------------------------------------------
