"""What daemons word can't do anything to the terminal, whichever way the command writes it."""

from __future__ import annotations

import json
import re
from io import StringIO

import pytest
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pyshard.cli import move_jobs, standard_output
from pyshard.cli.json_output import put_json
from pyshard.cli.move_jobs import put_moves, screen_of_moves
from pyshard.cli.rich_output import Printable, show
from pyshard.cli.shell.known_names import KnownNames
from pyshard.cli.standard_output import put, put_all, put_as_it_is, put_lines_as_they_are, tell_lines
from pyshard.model.range_moves import Phase
from pyshard.protocol.listed_moves import ListedMove

#: A window's title, a cleared screen in 7 and in 8 bits, letters turned round, an end of a line, and what isn't seen.
ODD = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202eb\u2028c\u200b"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b2J\u202eb\u2028c\u200b"

#: The beginning of that, where rich leaves out a bell by itself, and cuts what is too long.
SEEN = r"\x1b]0;owned\x1b["

_COLOR = re.compile("\x1b\\[[0-9;]*m")


def table(cell: str) -> Table:
    """A table with one cell, which is a text."""
    made = Table(box=None)
    made.add_column("name", no_wrap=True)
    made.add_row(Text(cell))
    return made


@pytest.mark.parametrize("drawn", [Text(ODD, style="red"), table(ODD), Panel(Text(ODD), expand=False)])
def test_what_rich_draws(drawn: RenderableType, capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes stand for what can't be printed; rich's own colors and lines stay."""
    console = Console(file=StringIO(), force_terminal=True, color_system="standard", width=100)
    console.print(Printable(Text("head", style="green"), drawn))
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "\x1b[32mhead\x1b[0m"
    assert all(_COLOR.sub("", line).isprintable() for line in lines)
    assert any(SEEN in line for line in lines)
    show(drawn)
    out = capsys.readouterr().out
    assert SEEN in out
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize("width", [80, 200])
def test_what_is_fine_is_drawn_as_it_was(width: int) -> None:
    """A table without anything odd is the one that rich draws by itself."""
    drawn = []
    for one in (table("größe 页 🂡"), Printable(table("größe 页 🂡"))):
        console = Console(file=StringIO(), force_terminal=True, width=width)
        console.print(one)
        assert isinstance(console.file, StringIO)
        drawn.append(console.file.getvalue())
    assert drawn[0] == drawn[1]


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A line stays one line; a color comes behind that, and keys and documents stand as they are."""
    put(f"a {ODD}\n")
    put_all([ODD, "b"], lambda line: f"\x1b[31m{line}\x1b[0m")
    put_all([])
    put_as_it_is(ODD)
    tell_lines([f"pyshard: {ODD}", ODD])
    ended = capsys.readouterr()
    assert ended.out == f"a {SHOWN}\\n\n\x1b[31m{SHOWN}\x1b[0m\n\x1b[31mb\x1b[0m\n{ODD}\n"
    assert ended.err == f"pyshard: {SHOWN}\n{SHOWN}\n"


def test_keys_and_documents_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may write a key commands no terminal; each line stays one, and what is fine stays as it is."""
    monkeypatch.setattr(standard_output, "is_terminal", lambda: True)
    put_as_it_is(f"{ODD}|größe")
    put_lines_as_they_are(f"a\n{ODD}\n".encode())
    assert capsys.readouterr().out == f"{SHOWN}|größe\na\n{SHOWN}\n"


def test_keys_that_a_shell_offers() -> None:
    """Those that a terminal would take for a command aren't among them."""
    assert KnownNames(lambda _: ["a", f"a{ODD}", "aü"], list, lambda: 0.0).keys(None, "a") == ["a", "aü"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of JSON is printable, and the same JSON."""
    put_json({ODD: [ODD, "größe"]})
    out = capsys.readouterr().out
    assert out[:-1].isprintable()
    assert json.loads(out) == {ODD: [ODD, "größe"]}


@pytest.fixture
def move() -> ListedMove:
    """A move whose names nobody has cut or made printable."""
    return ListedMove(7, ODD, "b", [(0.0, 0.5)], Phase.COPYING, error=ODD)


@pytest.mark.parametrize("as_json", [False, True])
def test_jobs(move: ListedMove, as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What `jobs` prints, and the lines below its table."""
    put_moves([move], as_json)
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_jobs_that_are_followed(move: ListedMove, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `jobs --follow` draws."""
    console = Console(file=StringIO(), width=100)
    monkeypatch.setattr(move_jobs, "Live", lambda **options: Live(console=console, **options))
    with screen_of_moves() as draw:
        draw([move])
    assert isinstance(console.file, StringIO)
    out = console.file.getvalue()
    assert SEEN in out
    assert all(line.isprintable() for line in out.split("\n"))
