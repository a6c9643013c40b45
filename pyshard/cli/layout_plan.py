"""What it would take to bring the cluster to a config, as `pyshard plan` shows it: table, lines, JSON. Pure.

Rules:

- documents and bytes are estimated by the histograms of the shards that give them; of one that can't be reached nothing
  is known;
- the time is that of the copies at the default pace, which is their fastest: it takes that long at the least. A shard
  has one move at a time, in the order of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec
from rich.table import Table
from rich.text import Text

from pyshard.cli.move_table import percent
from pyshard.cli.people_numbers import size
from pyshard.cli.stat import ranges_text
from pyshard.model.key_slots import SLOTS, slot_to_hash
from pyshard.model.layout_change import LayoutChange
from pyshard.model.range_plan import Transfer, slot_count
from pyshard.model.transfer_check import ShardLoad, ShardStatistics, bytes_in, documents_in
from pyshard.settings import settings


@attrs.frozen
class PlannedTransfer:
    """What would go from one shard to another.

    :param source: the name of the shard that gives.
    :param target: the name of the shard that takes.
    :param ranges: pairs of hashes.
    :param part: of the keyspace, from 0 to 1.
    :param documents: about how many there are; None: that isn't known.
    :param size: about how many bytes they count against a shard's limit; None: that isn't known.
    """

    source: str
    target: str
    ranges: list[tuple[float, float]]
    part: float
    documents: int | None
    size: int | None


@attrs.frozen
class LayoutPlan:
    """What would be done.

    :param added: names of shards that the cluster gets.
    :param updated: names of shards whose address, replicas or size change.
    :param removed: names of shards that leave the cluster.
    :param emptied: names of shards that leave it when the config is applied again.
    :param transfers: what would move.
    :param part: the part of the keyspace that moves.
    :param least: the part that has to move at the least, so that each shard has as much as the config gives it.
    :param seconds: about how long the copies take at the least; None: that isn't known.
    """

    added: list[str]
    updated: list[str]
    removed: list[str]
    emptied: list[str]
    transfers: list[PlannedTransfer]
    part: float
    least: float
    seconds: float | None


def layout_plan(change: LayoutChange, loads: Mapping[str, ShardLoad]) -> LayoutPlan:
    """The plan of a change.

    :param loads: what each shard has; those of which nothing is known are left out.
    """
    transfers = [_planned(transfer, loads.get(transfer.source)) for transfer in change.transfers]
    return LayoutPlan(
        added=[shard.name for shard in change.added],
        updated=[shard.name for shard in change.updated],
        removed=list(change.removed),
        emptied=list(change.emptied),
        transfers=transfers,
        part=change.moved / SLOTS,
        least=change.least / SLOTS,
        seconds=copy_seconds(transfers),
    )


def loads_in(found: Mapping[str, Any]) -> dict[str, ShardLoad]:
    """What each shard has, as far as it could be asked.

    :param found: what `Client.stat` gives.
    """
    loads = {}
    for shard in found["shards"]:
        try:
            loads[str(shard["name"])] = msgspec.convert(shard, ShardStatistics).load()
        except msgspec.ValidationError:
            continue  # it can't be reached, or says what can't be read: the plan shows "?"
    return loads


def copy_seconds(transfers: Sequence[PlannedTransfer], pace: float = settings.COPY_PACE) -> float | None:
    """About how long it takes to copy all of this, if nothing slows it down; None: that isn't known.

    :param pace: bytes of a copy in a second.
    """
    busy: dict[str, float] = {}  # until when each shard is
    for transfer in transfers:
        if transfer.size is None:
            return None
        begun = max(busy.get(transfer.source, 0.0), busy.get(transfer.target, 0.0))
        busy[transfer.source] = busy[transfer.target] = begun + transfer.size / pace
    return max(busy.values(), default=0.0)


def plan_json(plan: LayoutPlan) -> dict[str, object]:
    """The plan as an object of JSON, without what there is none of."""
    return attrs.asdict(plan)


def plan_table(plan: LayoutPlan) -> Table:
    """A row for each transfer."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("from", "to", "ranges"):
        made.add_column(name)
    for name in ("part", "documents", "bytes"):
        made.add_column(name, no_wrap=True, justify="right")
    for transfer in plan.transfers:
        documents = "?" if transfer.documents is None else f"{transfer.documents:,}"
        amount = "?" if transfer.size is None else size(transfer.size)
        ranges = ranges_text(transfer.ranges)
        cells = [transfer.source, transfer.target, ranges, percent(transfer.part), documents, amount]
        made.add_row(*(Text(cell) for cell in cells))
    return made


def plan_lines(plan: LayoutPlan) -> list[str]:
    """What there is to be said below the table."""
    lines = [
        f"{what}: {', '.join(names)}."
        for what, names in (
            ("New shards", plan.added),
            ("Other address, replicas or size", plan.updated),
            ("Shards that leave the cluster now", plan.removed),
        )
        if names
    ]
    if plan.transfers:
        documents = _total([transfer.documents for transfer in plan.transfers])
        amount = _total([transfer.size for transfer in plan.transfers])
        counted = "" if documents is None else f", about {documents:,} document{'' if documents == 1 else 's'}"
        sized = "" if amount is None else f", {size(amount)}"
        lines.append(
            f"All together: {percent(plan.part)} of the keyspace{counted}{sized}. The least possible: "
            f"{percent(plan.least)}."
        )
        if plan.seconds is not None:
            pace = size(settings.COPY_PACE)
            lines.append(
                f"Expected time: at least {duration(plan.seconds)}, at {pace}/s. "
                "Beside clients a move takes about 30 times as long."
            )
    if plan.emptied:
        lines.append(
            f"Shards that leave the cluster when this is applied again, once nothing moves: {', '.join(plan.emptied)}."
        )
    if not (plan.transfers or plan.added or plan.updated or plan.removed):
        lines.append("Nothing to do: the cluster is like that already, or will be when its moves are done.")
    return lines


def duration(seconds: float) -> str:
    """A time for people, rounded up: 0.2 → ``1 s``, 4000 → ``1 h 7 min``."""
    whole = max(1, -int(-seconds // 1))
    if whole < 120:
        return f"{whole} s"
    minutes = -(-whole // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _planned(transfer: Transfer, load: ShardLoad | None) -> PlannedTransfer:
    return PlannedTransfer(
        transfer.source,
        transfer.target,
        [(slot_to_hash(start), slot_to_hash(end)) for start, end in transfer.ranges],
        slot_count(transfer.ranges) / SLOTS,
        None if load is None else round(documents_in(load, transfer.ranges)),
        None if load is None else round(bytes_in(load, transfer.ranges)),
    )


def _total(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
