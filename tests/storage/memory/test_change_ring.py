"""The ring of a store's newest changes: what it keeps, packed or not, and that it does little at a time."""

from __future__ import annotations

import gc
from itertools import pairwise
from random import Random

import attrs
import pytest
from stores import PLENTY, START, at_once, task
from twisted.internet.task import Clock

from pyshard.protocol.batch_operations import Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import FollowedBound, MemoryStore
from pyshard.storage.memory.change_ring import ChangeRing

MIB = 1024 * 1024
AT_A_TIME = MIB + 64 * 1024  # bytes that may be let go in one call, but for the last group


def group_of(number: int, changes: int = 1, size: int = 5) -> ChangeGroup:
    """A group with so many changes, of which some are removals."""
    records = [b"r" * size if (number + each) % 3 else None for each in range(changes)]
    found = [Change(7, each, b"%d" % number, number, each, record) for each, record in enumerate(records)]
    others = ({"i": 7}, b"text", 8, StoreRanges(owned=((0, 9),))) if number % 11 == 0 else ()
    return ChangeGroup(number, 3, number, found, *others)


def ring_of(clock: Clock, count: int, size: int = MIB) -> ChangeRing:
    """A ring with a bound of so many bytes, and so many tiny groups, of which some are packed."""
    ring = ChangeRing(FollowedBound(size, 1000), clock.seconds, 0)
    for number in range(1, count + 1):
        add(ring, group_of(number))
        ring.release(0)
    return ring


def add(ring: ChangeRing, group: ChangeGroup) -> None:
    """Add a group to a ring."""
    ring.add(group, group.size)


@attrs.define
class PlainRing:
    """What a ring is to give: all groups, in a list, without a bound."""

    groups: list[ChangeGroup] = attrs.Factory(list)

    def after(self, sequence: int, most_bytes: int, until: int) -> list[ChangeGroup]:
        """See `ChangeRing.after`."""
        found: list[ChangeGroup] = []
        for group in self.groups:
            if sequence < group.sequence <= until and most_bytes > 0:
                found.append(group)
                most_bytes -= group.size
        return found


@pytest.mark.parametrize("seed", range(20))
def test_packed_groups_are_given_as_others(seed: int) -> None:
    """Whatever is packed, cut and dropped, a ring gives what a list of all groups would give."""
    random, plain, committed = Random(seed), PlainRing(), 0
    ring = ChangeRing(FollowedBound(random.choice([0, 20_000, MIB, 1 << 40]), 1000), Clock().seconds, 0)
    ring._bound = FollowedBound(1 << 40, 1000)  # nothing is dropped for it
    for _ in range(400):
        group = group_of(ring.last + 1, random.randrange(4), random.choice([0, 5, 3000]))
        add(ring, group)
        plain.groups.append(group)
        if random.random() < 0.3:
            committed = random.randint(committed, ring.last)
            ring.release(random.randint(0, ring.first + 3), committed)
        if random.random() < 0.1:
            ring.cut(random.randint(max(committed, ring.last - 2), ring.last))
            del plain.groups[ring.last :]
        assert [ring.group(number) for number in range(committed + 1, ring.last + 1)] == plain.groups[committed:]
        place, most = random.randint(ring.first - 1, ring.last), random.choice([1, 200, 5000, PLENTY])
        assert ring.has_after(place)
        until = random.randint(committed, ring.last + 2)
        assert ring.after(place, most, until) == plain.after(place, most, until)
    assert not ring.has_after(ring.first - 2)
    assert not ring.has_after(ring.last + 1)


def test_what_is_not_committed_is_not_packed() -> None:
    """It is looked at group by group, and may be cut; it is packed when it is committed."""
    ring = ChangeRing(FollowedBound(MIB, 1000), Clock().seconds, 0)
    for number in range(1, 1001):
        add(ring, group_of(number))
        ring.release(0, 0)
    assert (len(ring._blocks), len(ring._loose)) == (0, 1000)
    for _ in range(1000):
        ring.release(0, 899)
    assert sorted(ring._loose) == list(range(900, 1001))
    assert all(block.first <= block.last for block in ring._blocks)
    ring.cut(899)
    assert ring.last == 899
    assert [group.sequence for group in ring.after(0, PLENTY, 899)] == list(range(1, 900))


def test_the_collector_has_little_to_look_through() -> None:
    """Of any number of groups that are kept a bounded number is known to Python's garbage collector."""
    gc.collect()
    before = len(gc.get_objects())
    ring = ring_of(Clock(), 20_000, 100 * MIB)
    gc.collect()
    few = len(gc.get_objects()) - before
    for number in range(20_001, 100_001):
        add(ring, group_of(number))
        ring.release(0)
    gc.collect()
    assert ring.first == 1
    assert len(gc.get_objects()) - before < few + 4000


def test_what_is_kept_is_bounded_in_bytes() -> None:
    """A ring that is over its bound drops the oldest, in blocks or not, and no more than it must."""
    ring = ring_of(Clock(), 50_000)
    assert ring.first > 1
    assert not ring.is_full
    assert ring.filled > 0.95
    assert len(ring.after(ring.first - 1, PLENTY, PLENTY)) == 50_001 - ring.first
    for _ in range(3):
        add(ring, group_of(ring.last + 1, size=MIB))
        ring.release(0)
    assert (ring.first, ring.size) == (ring.last + 1, 0)


def test_a_ring_far_over_its_bound() -> None:
    """What had to be kept until it was committed goes in steps then, and these let go of more than comes."""
    ring = ChangeRing(FollowedBound(MIB, 1000), Clock().seconds, 0)
    for number in range(1, 21):
        add(ring, group_of(number, size=MIB))
        ring.release(0, 0)
    for _ in range(30):
        add(ring, group_of(ring.last + 1, size=3 * MIB))
        ring.release(0)
    assert not ring.is_full


def test_what_is_kept_is_bounded_in_time() -> None:
    """A group is kept for its time, also in a block, which goes as a whole when its last group may go."""
    clock = Clock()
    ring = ring_of(clock, 1000)
    assert ring._blocks
    clock.advance(999)
    add(ring, group_of(1001))
    assert not ring.release(0)
    assert (ring.first, ring.filled) == (1, 0.999)
    clock.advance(2)
    assert not ring.release(0)
    assert (ring.first, ring.last, len(ring._blocks)) == (1001, 1001, 0)
    assert ring.filled == pytest.approx(0.002)
    clock.advance(999)
    assert not ring.release(0)
    assert (ring.first, ring.size, ring.filled, ring._beside) == (1002, 0, 0.0, 0)


@pytest.mark.parametrize(("count", "changes", "size"), [(20_000, 1, 5), (200, 1000, 5), (20, 1, MIB)])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("is_old", [True, False])
def test_groups_are_let_go_some_at_a_time(count: int, changes: int, size: int, packed: bool, is_old: bool) -> None:
    """What is too old, or nobody needs any more, goes in steps, each of which says whether there are more."""
    clock = Clock()
    ring = ChangeRing(FollowedBound(1 << 40, 1000), clock.seconds, 0)
    for number in range(1, count + 1):
        add(ring, group_of(number, changes, size))
        if packed:
            ring.release(0)
    ring.added = 0
    clock.advance(1001 if is_old else 1)
    steps = [ring.size]
    while ring.release(0 if is_old else ring.last):
        steps.append(ring.size)
    steps.append(ring.size)
    assert steps[-1] == 0
    largest = group_of(1, changes, size).size + 200_000
    assert max(before - after for before, after in pairwise(steps)) < AT_A_TIME + largest
    assert len(steps) > 5


def store_with(clock: Clock, count: int) -> MemoryStore:
    """A store that keeps so many groups for a follower."""
    store = MemoryStore("1d", clock.seconds, steady=clock.seconds)
    store.follow("f", 0)
    for _ in range(count):
        at_once(store.apply([task(Write("", [b"k"], [b"record"]))], PLENTY, PLENTY))
    return store


def test_changes_that_nobody_needs_go_with_sweeps() -> None:
    """When a follower is forgotten, or a store becomes a copy, sweeps let go of its changes, some at a time."""
    clock = Clock()
    clock.advance(START)
    store = store_with(clock, 20_000)
    (ring,) = [store._followers.ring]
    assert ring is not None
    store.forget("f")
    assert store._followers.ring is None
    steps = [ring.size]
    while at_once(store.sweep(10)):
        steps.append(ring.size)
    assert (ring.size, store._followers._unwanted) == (0, [])
    assert 5 < len(steps) < 100
    assert max(before - after for before, after in pairwise(steps)) < AT_A_TIME + 200_000


def test_changes_of_a_store_that_becomes_a_copy_go_with_sweeps() -> None:
    """It begins with no changes at once, and lets go of the former ones some at a time, as a member, too."""
    clock = Clock()
    clock.advance(START)
    store = store_with(clock, 20_000)
    ring = store._followers.ring
    assert ring is not None
    at_once(store.promise(1))
    at_once(store.be_member())
    at_once(store.begin_copy(ChangeGroup(store.sequence + 7, 1, 1, [])))
    assert store._followers.ring is not None
    assert (store._followers.ring.size, ring.size > 5 * MIB) == (0, True)
    steps = 0
    while at_once(store.sweep(10)):
        steps += 1
    assert (ring.size, store._followers._unwanted) == (0, [])
    assert 5 < steps < 100
