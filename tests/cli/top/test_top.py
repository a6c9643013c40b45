"""`top` on a cluster in memory: once, as JSON, on a terminal, and how it ends."""

from __future__ import annotations

import io
import json

import pytest
from in_process_command import Commands
from rich.console import Console
from rich.text import Text

from pyshard.blocking import daemon_reports
from pyshard.cli.top import command


@pytest.fixture
def waits(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; in each the cluster's time goes on, and some documents are written."""
    made: list[float] = []
    client = pyshard.cluster.connect()

    def pause(seconds: float) -> None:
        made.append(seconds)
        pyshard.cluster.run(client.write_many({f"{len(made)} {number}": number for number in range(50)}))
        pyshard.cluster.advance(seconds)
        if len(made) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "pause", pause)
    return made


def test_once(pyshard: Commands, waits: list[float]) -> None:
    """Two looks, and the table of what came between them."""
    ended = pyshard("top", "--once", "--interval", "3")
    assert (ended.code, ended.error, waits) == (0, "", [3.0])
    about, head, *lines = ended.out.splitlines()
    assert about.startswith("2 shards, 0 down, epoch ")
    assert head.split()[0] == "shard"
    assert [line.split()[0] for line in lines] == ["shard0", "shard1", "all"]
    assert " 50 " in lines[-1]
    assert lines[-1].split()[1] != "-"


def test_once_with_a_shard_down(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are shown, and the exit code is 1."""
    monkeypatch.setattr(command, "pause", pyshard.cluster.advance)
    pyshard.cluster.kill_shard("shard1")
    ended = pyshard("top", "--once", "--json", "--deadline", "1", "--interval", "0.1")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert "error" in found["shards"][1]
    assert "operations" in found["shards"][0]


def test_json_lines(pyshard: Commands, waits: list[float]) -> None:
    """A line for each look until Ctrl-C, which ends it with 0."""
    ended = pyshard("top", "--json")
    assert (ended.code, ended.error, waits) == (0, "", [2.0, 2.0, 2.0])
    first, second = map(json.loads, ended.out.splitlines())
    assert (first["all"]["documents"], second["all"]["documents"]) == (50, 100)
    assert first["moves"] == 0


def test_on_a_terminal(pyshard: Commands, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen is drawn anew at each look, and given back at the end."""
    drawn = io.StringIO()
    monkeypatch.setattr(command, "is_terminal", lambda: True)
    monkeypatch.setattr(command, "console", lambda: Console(file=drawn, force_terminal=True, width=80, height=10))
    assert pyshard("top").code == 0
    text = drawn.getvalue()
    assert text.count("documents") == 3
    assert text.index("\x1b[?1049h") < text.index("shard0") < text.index("\x1b[?1049l")
    assert len(waits) == 3


def test_names_on_a_terminal(pyshard: Commands, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """No name commands the terminal, whoever gave it."""
    drawn = io.StringIO()
    monkeypatch.setattr(command, "is_terminal", lambda: True)
    monkeypatch.setattr(command, "console", lambda: Console(file=drawn, force_terminal=True, width=80, height=10))
    monkeypatch.setattr(command, "screen", lambda *_: Text("shard \x1b]0;owned\x1b[3J\u202e"))
    assert pyshard("top").code == 0
    assert len(waits) == 3
    assert drawn.getvalue().count(r"shard \x1b]0;owned\x1b[3J\u202e") == 3
    assert "\x1b]" not in drawn.getvalue()


def test_no_terminal(pyshard: Commands) -> None:
    """Elsewhere it says what to use."""
    ended = pyshard("top")
    assert (ended.code, ended.out) == (2, "")
    assert "--once or --json" in ended.error


@pytest.mark.parametrize("interval", ["0", "nan", "-1", "1e9"])
def test_interval(pyshard: Commands, interval: str) -> None:
    """An interval is a positive time."""
    assert pyshard("top", "--once", "--interval", interval).code == 2


def test_without_a_bootstrap(pyshard: Commands, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """What shards do is shown also when the bootstrap goes away meanwhile."""
    listed = daemon_reports.listed_moves

    def away(*given: object) -> object:
        pyshard.cluster.stop_bootstrap()
        monkeypatch.setattr(command, "listed_moves", listed)
        return []

    monkeypatch.setattr(command, "listed_moves", away)
    ended = pyshard("top", "--once", "--json", "--deadline", "1")
    assert ended.code == 0
    assert json.loads(ended.out)["moves"] is None
    assert waits
