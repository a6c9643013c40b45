"""What `pyshard top` shows: a row for each shard, and one for all; and the same as JSON. Pure.

Rule: it fits 80 columns. A wider terminal gets more of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pyshard.cli.people_numbers import size, span
from pyshard.cli.top.rates import ShardRates

_WIDE = 110  # columns
_NEAR, _FULL = 0.80, 0.95  # of a limit
_ALL = "all"


def screen(given: Sequence[ShardRates], everything: ShardRates, about: str, width: int) -> RenderableType:
    """The whole screen.

    :param about: the line above the table.
    :param width: columns of the terminal.
    """
    wide = width >= _WIDE
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column("shard", no_wrap=True, overflow="ellipsis", max_width=30 if wide else 14)
    more = ("reads/s", "changes/s", "refused/s") if wide else ()
    last = ("used", "connected", "up") if wide else ()
    for name in ("ops/s", *more, "p50", "p99", "documents", "full", "queue", *last):
        made.add_column(name, no_wrap=True, justify="right")
    for row in [*given, *([everything] if len(given) > 1 else [])]:
        made.add_row(*_cells(row, wide), style=None if row.name else "bold")
    errors = [Text(f"{row.name}: {row.error}", style="red") for row in given if row.error]
    return Group(Text(about), made, *errors)


def top_json(given: Sequence[ShardRates], everything: ShardRates, epoch: int, moves: int | None) -> dict[str, object]:
    """The figures as JSON has them."""
    return {
        "epoch": epoch,
        "moves": moves,
        "shards": [_fields(row) for row in given],
        "all": {name: value for name, value in _fields(everything).items() if name not in _OF_ONE},
    }


_OF_ONE = ("name", "address", "uptime", "error")


def _fields(row: ShardRates) -> dict[str, object]:
    found: dict[str, object] = attrs.asdict(row)
    return {name: found[name] for name in _OF_ONE if name != "error"} | (
        {"error": row.error}
        if row.error
        else {
            name: round(value, 7) if isinstance(value, float) else value
            for name, value in found.items()
            if name not in _OF_ONE
        }
    )


def _cells(row: ShardRates, wide: bool) -> list[Text]:
    name = Text(row.name or _ALL)
    if row.error:
        return [name, Text("down", style="red")]
    part = row.used
    full = Text(f"{part:.0%}", style="red" if part > _FULL else "yellow" if part > _NEAR else "")
    waiting = Text("" if row.waiting is None else size(row.waiting))
    more = [_rate(row.reads), _rate(row.changes), _rate(row.refused)] if wide else []
    up = Text(span(row.uptime) if row.name else "")
    last = [Text(size(row.bytes)), Text(f"{row.connected:,}"), up] if wide else []
    documents = Text(f"{row.documents:,}")
    return [name, _rate(row.operations), *more, _time(row.p50), _time(row.p99), documents, full, waiting, *last]


def _rate(value: float | None) -> Text:
    return Text("-" if value is None else f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}")


def _time(seconds: float | None) -> Text:
    if seconds is None:
        return Text("-")
    if seconds < 0.001:
        return Text(f"{seconds * 1e6:.0f} µs")
    return Text(f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s")
