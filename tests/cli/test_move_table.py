"""Moves as `jobs` shows them, by value."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from pyshard.cli.move_table import MoveTable, cancelled, phase, progress, remarks, row, under_way
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.listed_moves import ListedMove

MIB = 1024 * 1024
MAP = ShardMap(
    [
        MapShard("a", ((0, SLOTS // 2),), 1, "127.0.0.1", 1),
        MapShard("b", ((SLOTS // 2, SLOTS),), 1, "127.0.0.1", 2),
    ]
)


def move(number: int = 7, at: Phase = Phase.COPYING, **more: Any) -> ListedMove:
    """A move of a quarter, from a to c."""
    return ListedMove(number, "a", "c", [(0.25, 0.5)], at, **more)


@pytest.mark.parametrize(
    ("listed", "word", "done"),
    [
        (move(at=Phase.PLANNED), "planned", None),
        (move(at=Phase.PLANNED, paused=True), "paused", None),
        (move(), "copying", None),
        (move(size=1, expected=4), "copying", 0.25),
        (move(size=5, expected=4), "copying", 1.0),
        (move(size=1, expected=4, paused=True), "paused", 0.25),
        (move(size=1, expected=4, seconds_behind=0.5), "catching up", 1.0),
        (move(at=Phase.SEALING, size=3, expected=4, seconds_behind=0.0), "sealing", 1.0),
        (move(at=Phase.COMMITTED), "cleaning", 1.0),
        (move(at=Phase.COMMITTED, over=True), "done", 1.0),
        (move(at=Phase.CANCELLED, size=1, expected=4), "cancelled", None),
        (move(at=Phase.CANCELLED, over=True), "cancelled", None),
    ],
)
def test_phase_and_progress(listed: ListedMove, word: str, done: float | None) -> None:
    """The copy's progress is shown while there is one; the words are finer than the cluster's state."""
    assert (phase(listed), progress(listed)) == (word, done)


def test_rows() -> None:
    """Each figure stands where it means something."""
    copying = move(size=MIB, expected=4 * MIB, rate=31.5 * MIB, copies=2, bytes_behind=9)
    assert row(copying) == ["7", "a", "c", "25.0 %", "copying", "25%", "31.5 MiB/s", "", "", "2"]
    catching_up = move(size=MIB, expected=MIB, rate=5.0, bytes_behind=2048, seconds_behind=0.5, copies=1)
    assert row(catching_up) == ["7", "a", "c", "25.0 %", "catching up", "100%", "", "2.0 KiB", "", "1"]
    over = move(at=Phase.COMMITTED, over=True, pause=0.0123, copies=1, seconds_behind=0.1, bytes_behind=5)
    assert row(over) == ["7", "a", "c", "25.0 %", "done", "100%", "", "", "12 ms", "1"]


def test_remarks() -> None:
    """Errors of now come before reasons of before."""
    moves = [move(1), move(2, error="no room", why="the seal"), move(3, why="an operator cancelled it")]
    assert remarks(moves) == ["move 2: no room", "move 3: an operator cancelled it"]
    assert remarks([move(1, refetched=1), move(2, error="no room", refetched=1200)]) == [
        "move 1: 1 bucket of rows was other than the source's, and fetched again; the target's log says where",
        "move 2: no room",
        "move 2: 1,200 buckets of rows were other than the source's, and fetched again; the target's log says where",
    ]
    assert remarks([move(1, stalled=59), move(2, stalled=75.4), move(3, stalled=75.4, over=True)]) == [
        "move 2: it has come no further for 75 s, though the source answers; it is cancelled after 600 s",
    ]


def drawn(moves: list[ListedMove], bars: bool, width: int) -> list[str]:
    """The lines of the table on a terminal so wide."""
    console = Console(width=width, file=StringIO())
    console.print(MoveTable(moves, bars))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


LONGEST = [
    ListedMove(11, "shard0.5-1", "shard0-0.5", [(0.5, 0.9)], Phase.COPYING, rate=31.5 * MIB, copies=2),
    ListedMove(12, "shard0.5-1", "shard0-0.5", [(0.5, 0.9)], Phase.COPYING, copies=2, expected=MIB, size=MIB,
               bytes_behind=int(123.4 * MIB), seconds_behind=3.0),
    ListedMove(3, "shard0.5-1", "shard0-0.5", [(0.5, 0.9)], Phase.COMMITTED, pause=0.120, copies=1, over=True),
]  # fmt: skip


@pytest.mark.parametrize("bars", [False, True])
def test_table_on_a_wide_terminal(bars: bool) -> None:
    """Each move has a line, with a bar if that is wanted."""
    head, copying, first, second = drawn(LONGEST, bars, 120)
    assert head.split() == ["move", "from", "to", "part", "phase", "progress", "rate", "lag", "pause", "copies"]
    assert copying.split() == ["11", "shard0.5-1", "shard0-0.5", "40.0", "%", "copying", "31.5", "MiB/s", "2"]
    assert first.replace("━", "").split() == [
        *("12", "shard0.5-1", "shard0-0.5", "40.0", "%", "catching", "up", "100%", "123.4", "MiB", "2"),
    ]
    assert second.replace("━", "").split() == [
        *("3", "shard0.5-1", "shard0-0.5", "40.0", "%", "done", "100%", "120", "ms", "1"),
    ]
    assert ("━" * 11 in first) == bars


@pytest.mark.parametrize("bars", [False, True])
def test_table_fits_80_columns(bars: bool) -> None:
    """A move has two lines there, and all that it has elsewhere; a name that is longer still is folded."""
    lines = drawn(LONGEST, bars, 80)
    assert lines[0].split() == ["move", "from,", "to", "part", "phase", "progress", "rate", "lag", "pause", "copies"]
    assert lines[1].split() == ["11", "shard0.5-1", "40.0", "%", "copying", "31.5", "MiB/s", "2"]
    assert lines[3].split() == ["12", "shard0.5-1", "40.0", "%", "catching", "up", "100%", "123.4", "MiB", "2"]
    assert lines[4].split() == ["→", "shard0-0.5", *(["━" * 11] if bars else [])]
    assert lines[5].split() == ["3", "shard0.5-1", "40.0", "%", "done", "100%", "120", "ms", "1"]
    assert len(lines) == 7
    long = "a-shard-of-some-more-letters"
    folded = drawn([ListedMove(1, long, "b", [(0, 0.5)], Phase.COPYING), *LONGEST], bars, 80)
    assert long in "".join(line[5:18].split()[0] for line in folded[1:4])
    assert max(map(len, folded)) <= 80


def test_under_way() -> None:
    """What isn't over is."""
    assert under_way([move(1), move(2, Phase.COMMITTED), move(3, Phase.COMMITTED, over=True)]) == {1, 2}


def test_cancelled() -> None:
    """What the list says counts; of what it has forgotten the map tells who has the range."""
    arrived = ListedMove(4, "b", "a", [(0.25, 0.5)], Phase.COPYING)
    waited = [move(1), move(2), move(3), arrived, ListedMove(5, "a", "gone", [(0.25, 0.5)], Phase.COPYING)]
    listed = [move(1, Phase.CANCELLED, over=True), move(2, Phase.COMMITTED, over=True), move(9, Phase.CANCELLED)]
    assert cancelled(waited, listed, MAP) == [1, 3, 5]
