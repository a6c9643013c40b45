"""`jobs` on a cluster in memory: what it prints, how long it waits, and how moves are changed."""

from __future__ import annotations

import json
from io import StringIO
from typing import Self

import pytest
from cli.growing import grown, ranges
from deferreds import change_state
from in_process_command import Commands
from rich.console import Console, RenderableType
from rich.live import Live

from pyshard.cli import deferred_call, move_jobs
from pyshard.model.range_moves import Phase
from pyshard.protocol.listed_moves import ListedMove


@pytest.fixture
def pyshard3(pyshard: Commands) -> Commands:
    """The command on a cluster with a third shard that has no ranges."""
    return grown(pyshard)


def test_none(pyshard: Commands) -> None:
    """No moves: it says so, and waits for nothing."""
    assert pyshard("jobs").out == pyshard("jobs", "--wait").out == "No moves.\n"
    assert json.loads(pyshard("jobs", "--json").out) == {"moves": []}


def test_pause_resume_wait(pyshard3: Commands) -> None:
    """A paused move stays where it is until it is resumed; --wait ends when it is over."""
    pyshard3("move", "0.25:0.5", "--to", "third")
    assert pyshard3("jobs", "pause", "1").code == 0
    pyshard3.cluster.advance(30)
    head, row = pyshard3("jobs").out.splitlines()
    assert head.split() == ["move", "from", "to", "part", "phase", "progress", "rate", "lag", "pause", "copies"]
    assert row.split()[:6] == ["1", "shard0", "third", "25.0", "%", "paused"]
    assert pyshard3("jobs", "resume", "1").code == 0
    ended = pyshard3("jobs", "--wait")
    assert (ended.code, ended.error) == (0, "")
    assert ended.out.splitlines()[1].split()[:7] == ["1", "shard0", "third", "25.0", "%", "done", "100%"]
    assert ranges(pyshard3)["third"] == [0.25, 0.5]
    [move] = json.loads(pyshard3("jobs", "--json").out)["moves"]
    assert (move["number"], move["phase"], move["over"], move["ranges"]) == (1, "committed", True, [[0.25, 0.5]])


def test_cancel(pyshard3: Commands) -> None:
    """A cancelled move says why. Who waits for it ends with 1; who comes later doesn't."""
    pyshard3("move", "0.25:0.5", "--to", "third")
    pyshard3("jobs", "pause", "1")
    pyshard3.cluster.clock.callLater(5, lambda: _cancel(pyshard3))
    ended = pyshard3("jobs", "--wait")
    assert (ended.code, ended.error) == (1, "pyshard: move 1: cancelled; see 'pyshard jobs'\n")
    assert ended.out.endswith("move 1: an operator cancelled it\n")
    assert "cancelled" in ended.out.splitlines()[1]
    assert pyshard3("jobs", "--wait").code == 0
    assert ranges(pyshard3)["third"] == []
    ended = pyshard3("jobs", "cancel", "1")
    assert (ended.code, ended.out) == (5, "")
    assert "expected the number of a move that is planned or under way" in ended.error


def _cancel(pyshard: Commands) -> None:
    assert pyshard.cluster.bootstrap is not None
    bootstrap = pyshard.cluster.bootstrap.bootstrap
    [move] = bootstrap.state.moves
    change_state(bootstrap, bootstrap.state.with_move(move.cancelled("an operator cancelled it")))


def test_wait_over_a_restart_of_the_bootstrap(pyshard3: Commands) -> None:
    """A bootstrap that was restarted doesn't list what ended before: then the map tells how it ended."""
    cluster = pyshard3.cluster
    pyshard3("move", "0.25:0.5", "--to", "third")
    pyshard3("jobs", "pause", "1")
    pyshard3("move", "0.9:1", "--to", "shard0")

    def restart() -> None:
        bootstrap, cluster.bootstrap = cluster.bootstrap, None
        assert bootstrap is not None
        bootstrap.stopService()
        cluster.start_bootstrap()

    cluster.clock.callLater(0.3, restart)
    cluster.clock.callLater(3, lambda: _resume(pyshard3))
    ended = pyshard3("jobs", "--wait")
    assert (ended.code, ended.error) == (0, "")
    assert ranges(pyshard3)["third"] == [0.25, 0.5]


def _resume(pyshard: Commands) -> None:
    assert pyshard.cluster.bootstrap is not None
    bootstrap = pyshard.cluster.bootstrap.bootstrap
    for move in bootstrap.state.moves:
        if move.phase is not Phase.COMMITTED and move.paused:
            change_state(bootstrap, bootstrap.state.with_move(move.waiting(False)))


def test_follow(pyshard3: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the table is drawn anew until nothing is under way."""
    drawn: list[str] = []
    plain = move_jobs.screen

    def screen(moves: list[ListedMove]) -> RenderableType:
        console = Console(width=120, file=StringIO())
        console.print(found := plain(moves))
        assert isinstance(console.file, StringIO)
        drawn.append(console.file.getvalue())
        return found

    monkeypatch.setattr(move_jobs, "screen", screen)
    monkeypatch.setattr(move_jobs, "is_terminal", lambda: True)
    pyshard3("move", "0.25:0.5", "--to", "third")
    ended = pyshard3("jobs", "--follow")
    assert (ended.code, ended.error) == (0, "")
    assert len(drawn) > 1
    assert " done " not in drawn[0]
    assert " done " in drawn[-1]
    assert "━━━" in drawn[-1]


@pytest.mark.parametrize(("options", "code"), [(["--follow"], 0), (["--follow", "--wait"], 130), (["--wait"], 130)])
def test_interrupt(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int) -> None:
    """Whoever only watches may stop; who waits hasn't got what they waited for. The terminal is left as it was."""
    cursor: list[str] = []

    class Screen(Live):
        def __enter__(self) -> Self:
            cursor.append("hidden")
            return super().__enter__()

        def __exit__(self, *error: object) -> None:
            cursor.append("shown")
            super().__exit__(None, None, None)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(move_jobs, "Live", Screen)
    monkeypatch.setattr(move_jobs, "is_terminal", lambda: True)
    monkeypatch.setattr(deferred_call, "call", interrupted)
    ended = pyshard("jobs", *options)
    assert (ended.code, ended.error.strip()) == (code, "" if code == 0 else "pyshard: interrupted")
    assert cursor == (["hidden", "shown"] if "--follow" in options else [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--follow"], "--follow draws on a terminal; use --wait; see"),
        (["--follow", "--json"], "use --wait with --json"),
        (["--json", "cancel", "1"], "--json means nothing before 'cancel'; give it behind"),
        (["--deadline", "3", "cancel", "1"], "--deadline means nothing before 'cancel'; give it behind"),
        (["cancel", "0"], "0 is not in the range x>=1"),
        (["cancel"], "Missing argument 'NUMBER'"),
        (["stop", "1"], "No such command 'stop'"),
    ],
)
def test_wrong_usage(pyshard: Commands, arguments: list[str], message: str) -> None:
    """One line, exit code 2."""
    ended = pyshard("jobs", *arguments)
    assert (ended.code, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert message in ended.error
