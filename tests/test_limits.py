"""docs/limits.md can be believed: each limit has its line, each line says what is so, each limit has its test."""

from __future__ import annotations

import ast
import re

import attrs
import pytest
from blocks import CHECKOUT
from tried_limits import TESTS

from pyshard import errors
from pyshard.settings import Settings, settings
from pyshard.shard.plugin import Options

PAGE = (CHECKOUT / "docs/limits.md").read_text(encoding="utf-8")

#: Settings that limit nothing.
OTHERS = {"BOOTSTRAP_SERVER", "SHARD_PORT", "HISTOGRAM_BARS"}

UNITS = {"": 1, " KiB": 1024, " MiB": 1024**2, " GiB": 1024**3, " s": 1}


@attrs.frozen
class Row:
    """A line of one of the tables."""

    default: str
    settings: list[str]
    options: list[str]
    past: str

    @property
    def number(self) -> float:
        """The default as a number."""
        match = re.fullmatch(r"([\d,.]+)( \w+|)", self.default)
        assert match is not None, self.default
        return float(match[1].replace(",", "")) * UNITS[match[2]]


def rows() -> list[Row]:
    """The lines of all tables, without their heads."""
    found = []
    for line in re.findall(r"^\| (?!limit|time \|)(.*) \|$", PAGE, re.MULTILINE):
        _, default, where, *past = [cell.strip() for cell in line.split(" | ")]
        named = re.findall(r"`([^`]+)`", where)
        names = [one for one in named if one.isupper()]
        found.append(Row(default, names, [one for one in named if one.startswith("--")], " ".join(past)))
    return found


ROWS = [row for row in rows() if row.settings]


def test_every_limit_has_its_line() -> None:
    """Each setting stands in one line, but for those that limit nothing."""
    named = sorted(name for row in ROWS for name in row.settings)
    assert named == sorted({field.name for field in attrs.fields(Settings)} - OTHERS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.settings[0])
def test_lines_say_the_defaults(row: Row) -> None:
    """The default that a line gives is the setting's."""
    for name in row.settings:
        assert row.number == getattr(settings, name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.settings[0])
def test_errors_in_lines(row: Row) -> None:
    """The errors that a line names exist."""
    for name in re.findall(r"`([A-Z][a-z]\w+)`", row.past):
        assert name == "Ping" or issubclass(getattr(errors, name), errors.PyshardError)


def test_options_in_lines() -> None:
    """The options that lines name are those of the daemons, with the same defaults."""
    named = {option: row for row in ROWS for option in row.options}
    assert sorted(named) == [
        "--followed-log-seconds",
        "--followed-log-size",
        "--max-connections",
        "--max-connections-per-address",
    ]
    for option, row in named.items():
        assert Options().defaults[option.removeprefix("--")] == row.number


def test_every_limit_is_tried() -> None:
    """Each limit has tests, which exist."""
    assert sorted(TESTS) == sorted({field.name for field in attrs.fields(Settings)} - OTHERS)
    for names in TESTS.values():
        for name in names:
            path, _, function = name.partition("::")
            tree = ast.parse((CHECKOUT / "tests" / path).read_text(encoding="utf-8"))
            functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert function in functions, name
