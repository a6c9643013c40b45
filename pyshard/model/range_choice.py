"""Which ranges go where when an operator moves one, drains a shard or splits it: transfers, by the layout. Pure.

A *layout* is that of `pyshard.model.range_plan`; what moves already counts as moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from pyshard.errors import InvalidArgument, shown_value
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_plan import Layout, Transfer, proposed, slot_count, transfers
from pyshard.model.slot_ranges import SlotRanges, common, union
from pyshard.model.transfer_check import ShardLoad


def range_transfers(layout: Layout, ranges: SlotRanges, target: str) -> list[Transfer]:
    """What moves so that a shard has some ranges, whoever has them now; nothing, if it has them.

    :raises InvalidArgument: there is no such shard.
    """
    _check_shards(layout, [target])
    return [
        Transfer(name, target, given)
        for name, owned in layout.items()
        if name != target and (given := common(owned, ranges))
    ]


def drain_transfers(layout: Layout, source: str, targets: Sequence[str]) -> list[Transfer]:
    """What moves so that a shard has nothing any more, and others get equal parts of it.

    :param targets: who gets them; none: all others.
    :raises InvalidArgument: there is no such shard, or none that could take anything.
    """
    _check_shards(layout, [source, *targets])
    taking = list(dict.fromkeys(targets)) or [name for name in layout if name != source]
    if source in taking:
        raise InvalidArgument(f"shard {shown_value(source)} can't be drained to itself; give another one")
    if not taking:
        raise InvalidArgument(f"shard {shown_value(source)} is the only one, so nothing can take what it has")
    if not layout[source]:
        return []
    share = Fraction(slot_count(layout[source]), len(taking))
    weights = {
        name: slot_count(owned) + (share if name in taking else Fraction(0))
        for name, owned in layout.items()
        if name != source
    }
    return transfers(layout, proposed(layout, weights) | {source: ()})


def split_transfers(layout: Layout, source: str, target: str, at: int | None, load: ShardLoad | None) -> list[Transfer]:
    """What moves so that a shard has only a part of what it has.

    :param at: the first slot that goes; None: half of its documents go, or half of its slots if it has none.
    :param load: what the source has; None: that isn't known.
    :raises InvalidArgument: there is no such shard, or nothing of it lies there.
    """
    _check_shards(layout, [source, target])
    if source == target:
        raise InvalidArgument(f"shard {shown_value(source)} can't be split to itself; give another one")
    owned = union(layout[source])
    if slot_count(owned) < 2 and at is None:
        raise InvalidArgument(f"shard {shown_value(source)} has no range that could be split")
    first = _middle(owned, load) if at is None else at
    behind = common(owned, ((first, SLOTS),))
    if not behind:
        raise InvalidArgument(
            f"shard {shown_value(source)} has nothing behind that hash; 'pyshard stat' shows its ranges"
        )
    return [Transfer(source, target, behind)]


def _middle(owned: SlotRanges, load: ShardLoad | None) -> int:
    """The slot behind which half of a shard's documents lie; its first and last slot stay on their sides."""
    bars = [] if load is None else [(bar, count) for bar, count in _bars(load, owned) if count]
    if not bars:
        bars = [(one, float(one[1] - one[0])) for one in owned]
    left = sum(count for _, count in bars) / 2
    found = owned[-1][1]
    for (start, end), count in bars:
        if count >= left:
            found = start + round((end - start) * left / count)
            break
        left -= count
    return min(max(found, owned[0][0] + 1), owned[-1][1] - 1)


def _bars(load: ShardLoad, owned: SlotRanges) -> list[tuple[tuple[int, int], float]]:
    """The parts of a shard's histogram that lie in some ranges, in order: slots, and about how many documents."""
    found = []
    for (start, end), counts in sorted(zip(load.ranges, load.histogram, strict=False)):
        for number, count in enumerate(counts):
            bar = start + (end - start) * number // len(counts), start + (end - start) * (number + 1) // len(counts)
            pieces = common((bar,), owned)
            found += [(piece, count * (piece[1] - piece[0]) / (bar[1] - bar[0])) for piece in pieces]
    return found


def _check_shards(layout: Layout, names: Sequence[str]) -> None:
    for name in names:
        if name not in layout:
            known = ", ".join(list(layout)[:10]) + (", …" if len(layout) > 10 else "")
            raise InvalidArgument(f"found shard {shown_value(name)}, expected one of the cluster: {known}")
