"""Which slots change their shard when a cluster grows, shrinks or is weighted anew. Pure.

A *layout* says which slots each shard owns: the shard's name → its ranges. All slots are owned, each by one shard.

Rules:

- no layout that gives the shards the same numbers of slots moves fewer of them than `proposed` does;
- a shard that takes more takes it beside what it has, where that comes from a shard that gives: so ranges stay few;
- shares that come to no whole slots are rounded, the largest fractions up. Of equal ones those are rounded up that have
  more slots now, so that nothing moves for the sake of rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TypeAlias

import attrs

from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, union, without

#: The shard's name → the ranges that it owns.
Layout: TypeAlias = Mapping[str, SlotRanges]


@attrs.frozen
class Transfer:
    """What goes from one shard to another.

    :param source: the name of the shard that gives.
    :param target: the name of the shard that takes.
    :param ranges: the slots.
    """

    source: str
    target: str
    ranges: SlotRanges


def slot_count(ranges: SlotRanges) -> int:
    """How many slots some ranges have."""
    return sum(end - start for start, end in ranges)


def transfers(now: Layout, wanted: Layout) -> list[Transfer]:
    """What must move from shard to shard so that one layout becomes another, by source and target in their order.

    All ranges of the one are compared with all of the other in one go, so that thousands of shards take hardly longer
    than their ranges do.
    """
    claimed = sorted((start, end, name) for name, ranges in wanted.items() for start, end in ranges)
    owned = sorted((start, end, name) for name, ranges in now.items() for start, end in ranges)
    pieces: dict[tuple[str, str], list[tuple[int, int]]] = {}
    here, there = 0, 0
    while here < len(owned) and there < len(claimed):
        (first, behind, source), (start, end, target) = owned[here], claimed[there]
        if source != target and max(first, start) < min(behind, end):
            pieces.setdefault((source, target), []).append((max(first, start), min(behind, end)))
        if behind <= end:
            here += 1
        else:
            there += 1
    order = {name: number for number, name in enumerate(wanted)}
    by_source: dict[str, list[str]] = {}
    for source, target in pieces:
        by_source.setdefault(source, []).append(target)
    return [
        Transfer(source, target, union(tuple(pieces[source, target])))
        for source in now
        for target in sorted(by_source.get(source, ()), key=order.__getitem__)
    ]


def moved(transferred: Iterable[Transfer]) -> int:
    """How many slots get another shard."""
    return sum(slot_count(transfer.ranges) for transfer in transferred)


def least_moved(now: Layout, wanted: Layout) -> int:
    """How many slots must move at the least so that each shard has as many as a layout gives it."""
    return sum(max(0, slot_count(ranges) - slot_count(wanted.get(name, ()))) for name, ranges in now.items())


def proposed(now: Layout, weights: Mapping[str, Fraction]) -> dict[str, SlotRanges]:
    """The layout in which each shard has its share of the slots, and the fewest of them move.

    :param weights: name → what its share is in proportion to, in the order in which the layout has them; none is
        negative, and one at the least isn't 0. Shards that aren't here give up all that they have.
    """
    wanted = _slot_counts(now, weights)
    layout = {name: union(now.get(name, ())) for name in {**now, **weights}}
    surplus = {name: slot_count(ranges) - wanted.get(name, 0) for name, ranges in layout.items()}
    while any(_take_beside(layout, surplus, name) for name in layout if surplus[name] < 0):
        pass
    for target in layout:
        for source in layout:
            amount = min(surplus[source], -surplus[target])
            if amount > 0:
                _move(layout, surplus, source, target, _last(layout[source], amount))
    return {name: layout[name] for name in weights}


def _slot_counts(now: Layout, weights: Mapping[str, Fraction]) -> dict[str, int]:
    """How many slots each shard is to have: together all."""
    total = sum(weights.values())
    exact = {name: weight * SLOTS / total for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    order = sorted(
        weights,
        key=lambda name: (exact[name] - counts[name], slot_count(now.get(name, ())) - counts[name]),
        reverse=True,
    )
    for name in order[: SLOTS - sum(counts.values())]:
        counts[name] += 1
    return counts


def _take_beside(layout: dict[str, SlotRanges], surplus: dict[str, int], target: str) -> bool:
    """Have a shard take what is next to a range of its own from a shard that gives; whether there was any."""
    for start, end in layout[target]:
        for source, ranges in layout.items():
            for first, behind in ranges:
                amount = min(surplus[source], -surplus[target], behind - first)
                if amount > 0 and (first == end or behind == start):
                    piece = (first, first + amount) if first == end else (behind - amount, behind)
                    _move(layout, surplus, source, target, (piece,))
                    return True
    return False


def _move(layout: dict[str, SlotRanges], surplus: dict[str, int], source: str, target: str, pieces: SlotRanges) -> None:
    amount = slot_count(pieces)
    layout[source] = without(layout[source], pieces)
    layout[target] = union(layout[target], pieces)
    surplus[source] -= amount
    surplus[target] += amount


def _last(ranges: SlotRanges, amount: int) -> SlotRanges:
    """The last slots of some ranges."""
    taken: list[tuple[int, int]] = []
    for start, end in reversed(ranges):
        if amount <= 0:
            break
        start = max(start, end - amount)
        amount -= end - start
        taken.append((start, end))
    return union(tuple(taken))
