"""docs/errors.md can be believed: it has every error, and says of each what the code and its docstring say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from blocks import CHECKOUT, tagged

from pyshard import Pyshard, Storable, errors
from pyshard.cli.exit_codes import exit_code_of
from pyshard.client_core.partial_failure import advice
from pyshard.client_core.retry_decision import Attempt, decide
from pyshard.errors import BY_CODE, OutcomeUnknown, PyshardError, ShardFull
from pyshard.testing import MemoryCluster

PAGE = (CHECKOUT / "docs/errors.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \| (\d+) \|$", re.MULTILINE)


@attrs.frozen
class Row:
    """A line of one of the tables."""

    name: str
    again: str
    happened: str
    what_to_do: str
    exit_code: str

    @property
    def error(self) -> type[PyshardError]:
        """The class."""
        found: type[PyshardError] = getattr(errors, self.name)
        return found


ROWS = [Row(*found) for found in _ROW.findall(PAGE)]
each = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_every_error_is_there() -> None:
    """Each class of `pyshard.errors` has one line."""
    assert sorted(row.name for row in ROWS) == sorted(error.__name__ for error in BY_CODE.values())


@each
def test_whether_it_may_be_asked_again(row: Row) -> None:
    """Whether to ask again is one of three words, which the page explains; and it says what to do."""
    assert row.again in ("later", "no", "look first")
    assert f"**again: {row.again}.**" in PAGE
    assert len(row.what_to_do) > 10


@each
def test_what_bulk_verbs_say(row: Row) -> None:
    """The message of a bulk verb says the same of each error as the page."""
    said = {
        "later": "may be asked again later",
        "no": "not to be asked again as it is",
        "look first": "may have happened: look first",
    }
    assert advice(row.error) == said[row.again]


def test_a_plan_that_is_too_old() -> None:
    """The same plan never fits again, since the order of the cluster's state only grows: it needs a new one."""
    [row] = [row for row in ROWS if row.name == "StaleEpoch"]
    assert row.again == "no"


@each
def test_exit_codes(row: Row) -> None:
    """The exit code of the command is the one that the code has."""
    assert int(row.exit_code) == exit_code_of(row.error("x"))


@each
def test_whether_it_may_have_happened(row: Row) -> None:
    """What the docstring says to have changed nothing, the table does, too; and only what is in doubt is "perhaps"."""
    said = re.search(r"[Nn]othing was (changed|sent|stored|restored|started)", row.error.__doc__ or "")
    if said:
        assert re.match(r"no\b", row.happened)
    assert row.happened.startswith("perhaps") == (row.error is OutcomeUnknown)


@each
def test_what_clients_deal_with_by_themselves(row: Row) -> None:
    """A client sends again what the last table has, changes too; of the others, Overloaded alone."""
    last = PAGE.partition("## What clients deal with by themselves")[2]
    refused, failed = (
        decide(how, row.error("x"), True, index_missing=True) for how in (Attempt.REFUSED, Attempt.FAILED)
    )
    again = refused.again or failed.again
    assert again == ((f"| `{row.name}` |" in last and row.name != "FollowerBehind") or row.name == "Overloaded")


class _App:
    """A client whose writes end as they are told to."""

    def __init__(self, *ends: PyshardError | None) -> None:
        self.ends = list(ends)

    def write(self, key: str, doc: str) -> int:
        """One of the ends."""
        end = self.ends.pop(0)
        if end is not None:
            raise end
        return len(key + doc)


@pytest.mark.parametrize(
    ("ends", "stored", "printed"),
    [
        ([None], True, ""),
        ([OutcomeUnknown("x"), errors.Unavailable("x"), None], True, ""),
        ([OutcomeUnknown("x"), OutcomeUnknown("x"), OutcomeUnknown("x")], False, ""),
        ([ShardFull("it is full")], False, "url: it is full\n"),
    ],
)
def test_the_program(
    ends: list[PyshardError | None], stored: bool, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's program writes again where that does no harm, and says what else went wrong."""
    remember = _program("remember")
    assert remember(_App(*ends), "url", "title") is stored
    assert capsys.readouterr().out == printed


class _LosesAnswers:
    """Does what a client of its own does, but loses the answers to its first writes; somebody else writes meanwhile.

    :param app: does it.
    :param happen: of each write whose answer is lost, whether it happens.
    :param other: what somebody else does then.
    """

    def __init__(self, app: Pyshard, happen: list[bool], other: Callable[[], object]) -> None:
        self._happen, self._other = happen, other
        self._app = app
        self.item = app.item

    def write(self, key: str, document: Storable, if_version: int) -> int:
        if not self._happen:
            return self._app.write(key, document, if_version=if_version)
        if self._happen.pop(0):
            self._app.write(key, document, if_version=if_version)
        self._other()
        raise OutcomeUnknown("its answer was lost")


@pytest.mark.parametrize("happen", [[], [True], [False], [False, True], [False, False, True]])
def test_the_program_that_counts(cluster: MemoryCluster, happen: list[bool]) -> None:
    """The page's other program adds its points once, though others add theirs while an answer is lost."""
    add_points, app, lost = _program("add_points"), cluster.blocking(), len(happen)
    app.write("ann", {"points": 10, "marks": []})
    assert add_points(_LosesAnswers(app, happen, lambda: add_points(app, "ann", 100)), "ann", 1) == 11 + 100 * lost
    found = app.get("ann")
    assert isinstance(found, dict)
    assert found["points"] == 11 + 100 * lost


def _program(name: str) -> Callable[..., Any]:
    """A function of the page's programs."""
    names: dict[str, Any] = {}
    for text in tagged("docs/errors.md", "run: errors"):
        exec(compile(text, "docs/errors.md", "exec"), names)
    found: Callable[..., Any] = names[name]
    return found
