"""Moves of ranges as `pyshard jobs` shows them: rows of a table, lines, JSON. Pure.

What a move waits for, why it was cancelled, why it doesn't go on, and what was fetched again, stand in lines below the
table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pyshard.cli.people_numbers import size
from pyshard.model.key_slots import hash_to_slot
from pyshard.model.range_moves import Phase
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import without
from pyshard.protocol.listed_moves import ListedMove

_BAR = 11  # columns of a progress bar: as many as those of the longest phase
_ANY_WIDTH = 10_000  # more columns than a table needs
_FIGURES = ("progress", "rate", "lag", "pause", "copies")


def moves_json(moves: Sequence[ListedMove]) -> dict[str, object]:
    """The moves as JSON has them: as the bootstrap lists them (docs/protocol.md, "ListMoves")."""
    return {"moves": list(moves)}


class MoveTable:
    """A row for each move, or two lines where that would be wider than the terminal.

    :param bars: whether progress is drawn, beside its number.
    """

    def __init__(self, moves: Sequence[ListedMove], bars: bool = False) -> None:
        self._moves = moves
        self._bars = bars

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich draws."""
        wide = _wide_table(self._moves, self._bars)
        needed = console.measure(wide, options=options.update(max_width=_ANY_WIDTH)).maximum
        yield wide if needed <= options.max_width else _narrow_table(self._moves, self._bars)


def _wide_table(moves: Sequence[ListedMove], bars: bool) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column("move", no_wrap=True, justify="right")
    for name in ("from", "to"):
        made.add_column(name)
    made.add_column("part", no_wrap=True, justify="right")
    made.add_column("phase", no_wrap=True)
    for name in (*([""] if bars else []), *_FIGURES):
        made.add_column(name, no_wrap=True, justify="right")
    for move in moves:
        first, *cells = [Text(cell) for cell in row(move)]
        made.add_row(first, *cells[:4], *([_bar(move)] if bars else []), *cells[4:])
    return made


def _narrow_table(moves: Sequence[ListedMove], bars: bool) -> Table:
    """The same in 80 columns, with the target below the source, and the bar below the phase. Long names are folded."""
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    made.add_column("move", no_wrap=True, justify="right")
    made.add_column("from, to", overflow="fold")
    made.add_column("part", no_wrap=True, justify="right")
    made.add_column("phase", no_wrap=True)
    for name in _FIGURES:
        made.add_column(name, no_wrap=True, justify="right")
    for move in moves:
        number, source, target, part, word, *figures = [Text(cell) for cell in row(move)]
        shards = Text("\n").join([source, Text("→ ") + target])
        made.add_row(number, shards, part, Group(word, _bar(move)) if bars else word, *figures)
    return made


def _bar(move: ListedMove) -> ProgressBar:
    return ProgressBar(total=1.0, completed=progress(move) or 0.0, width=_BAR)


def row(move: ListedMove) -> list[str]:
    """The cells of a move."""
    done = progress(move)
    return [
        str(move.number),
        move.source,
        move.target,
        percent(sum(end - start for start, end in move.ranges)),
        phase(move),
        "" if done is None else f"{done:.0%}",
        f"{size(round(move.rate))}/s" if move.rate and move.seconds_behind is None and not move.over else "",
        "" if move.seconds_behind is None or move.phase is not Phase.COPYING else size(move.bytes_behind),
        "" if move.pause is None else f"{move.pause * 1000:.0f} ms",
        str(move.copies) if move.copies else "",
    ]


def phase(move: ListedMove) -> str:
    """How far a move is, in a word or two."""
    if move.phase is Phase.COMMITTED:
        return "done" if move.over else "cleaning"
    if move.phase is Phase.CANCELLED:
        return "cancelled"
    if move.paused:
        return "paused"
    caught_up = move.phase is Phase.COPYING and move.seconds_behind is not None
    return "catching up" if caught_up else move.phase.value


def progress(move: ListedMove) -> float | None:
    """Which part of its copy is done, from 0 to 1; None: that isn't known, or nothing is copied any more."""
    if move.phase is Phase.COMMITTED:
        return 1.0
    if move.phase is Phase.CANCELLED or not move.expected:
        return None
    return min(1.0, move.size / move.expected) if move.seconds_behind is None else 1.0


def remarks(moves: Sequence[ListedMove]) -> list[str]:
    """Lines for moves of which there is more to say: why they don't go on, or were cancelled; and what differed."""
    said = [
        (move.number, text)
        for move in moves
        for text in (move.error or move.why, move.stall, _refetched(move.refetched))
    ]
    return [f"move {number}: {text}" for number, text in said if text]


def _refetched(buckets: int) -> str:
    if not buckets:
        return ""
    which = "1 bucket of rows was" if buckets == 1 else f"{buckets:,} buckets of rows were"
    return f"{which} other than the source's, and fetched again; the target's log says where"


def under_way(moves: Iterable[ListedMove]) -> set[int]:
    """The numbers of those moves that aren't over."""
    return {move.number for move in moves if not move.over}


def cancelled(waited: Collection[ListedMove], listed: Sequence[ListedMove], shards: ShardMap) -> list[int]:
    """Which of some moves have been cancelled, now that none of them is under way.

    A bootstrap that was started meanwhile doesn't list what ended before. Then the map tells: who owns the range.

    :param waited: the moves, as they were last seen.
    :param listed: all that are listed now.
    :param shards: the map now.
    """
    phases = {move.number: move.phase for move in listed}
    return sorted(
        move.number
        for move in waited
        if phases.get(move.number, Phase.COMMITTED if _arrived(move, shards) else Phase.CANCELLED) is Phase.CANCELLED
    )


def percent(part: float) -> str:
    """A part of the keyspace: 0.25 → ``25.0 %``."""
    return f"{part * 100:.1f} %"


def _arrived(move: ListedMove, shards: ShardMap) -> bool:
    target = shards.named(move.target)
    ranges = tuple((hash_to_slot(start), hash_to_slot(end)) for start, end in move.ranges)
    return target is not None and not without(ranges, target.ranges)
