"""Moves as `jobs` shows them, by value."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from pyshard.cli.move_table import cancelled, move_table, phase, progress, remarks, row, under_way
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
    catching_up = move(size=MIB, expected=MIB, bytes_behind=2048, seconds_behind=0.5, copies=1)
    assert row(catching_up) == ["7", "a", "c", "25.0 %", "catching up", "100%", "", "2.0 KiB", "", "1"]
    over = move(at=Phase.COMMITTED, over=True, pause=0.0123, copies=1, seconds_behind=0.1, bytes_behind=5)
    assert row(over) == ["7", "a", "c", "25.0 %", "done", "100%", "", "", "12 ms", "1"]


def test_remarks() -> None:
    """Errors of now come before reasons of before."""
    moves = [move(1), move(2, error="no room", why="the seal"), move(3, why="an operator cancelled it")]
    assert remarks(moves) == ["move 2: no room", "move 3: an operator cancelled it"]


def test_table_fits_a_terminal() -> None:
    """A row stays on a line of 80 columns, and a little more with the bar; names are shown as they are."""
    listed = move(size=MIB, expected=4 * MIB, rate=31.5 * MIB, copies=1)
    for bars, width in ((False, 80), (True, 95)):
        console = Console(width=width, file=StringIO())
        console.print(move_table([listed], bars))
        assert isinstance(console.file, StringIO)
        head, line = console.file.getvalue().splitlines()
        assert head.split()[:5] == ["move", "from", "to", "part", "phase"]
        assert line.split()[:3] == ["7", "a", "c"]
        assert "31.5 MiB/s" in line
        assert ("━" in line) == bars


def test_under_way() -> None:
    """What isn't over is."""
    assert under_way([move(1), move(2, Phase.COMMITTED), move(3, Phase.COMMITTED, over=True)]) == {1, 2}


def test_cancelled() -> None:
    """What the list says counts; of what it has forgotten the map tells who has the range."""
    arrived = ListedMove(4, "b", "a", [(0.25, 0.5)], Phase.COPYING)
    waited = [move(1), move(2), move(3), arrived, ListedMove(5, "a", "gone", [(0.25, 0.5)], Phase.COPYING)]
    listed = [move(1, Phase.CANCELLED, over=True), move(2, Phase.COMMITTED, over=True), move(9, Phase.CANCELLED)]
    assert cancelled(waited, listed, MAP) == [1, 3, 5]
