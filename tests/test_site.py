"""The documentation site has every page, every public name and every subcommand, and asks nobody else for anything.

What can be known from the sources is tested everywhere. The rest is of the site as Sphinx has built it, in the folder
that `PYSHARD_TEST_SITE` names: `tox run -e docs` builds it and runs these tests.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from html import unescape
from importlib import import_module
from pathlib import Path

import click
import pytest
from blocks import CHECKOUT
from rich.table import Table

import pyshard
from pyshard.cli import cli
from pyshard.cli.replica_table import replica_table
from pyshard.cli.stat import table as stat_table
from pyshard.cli.subcommands import ListedCommand

DOCS = CHECKOUT / "docs"
SITE = os.environ.get("PYSHARD_TEST_SITE", "")

built = pytest.mark.skipif(not SITE, reason="PYSHARD_TEST_SITE names no built site; `tox run -e docs` makes one")

#: Pages of the site whose text is that of a page in the folder above (docs/site_links.py).
_ABOVE = {"changelog", "contributing", "security"}


def sources() -> set[str]:
    """The pages in docs/ but the index, as paths without their endings."""
    found = [*DOCS.glob("*.md"), *DOCS.glob("*.rst"), *DOCS.glob("*/*.rst")]
    return {path.relative_to(DOCS).with_suffix("").as_posix() for path in found} - {"index"}


def listed() -> list[str]:
    """The pages that docs/index.md lists, each at the beginning of a line."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    pages: list[str] = re.findall(r"^- \[[^\]]+\]\((\S+)\.(?:md|rst)\)", text, re.MULTILINE)
    return [page.removeprefix("../").lower() for page in pages]


def documented() -> set[str]:
    """The names of which the pages on the API have the docstrings, with modules' public names each by itself."""
    names = set()
    for path in (DOCS / "api").glob("*.rst"):
        for kind, name in re.findall(r"^\.\. auto(\w+):: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            names.add(name)
            if kind == "module":
                names.update(f"{name}.{public}" for public in getattr(import_module(name), "__all__", ()))
    return names


def test_every_page_is_listed() -> None:
    """Each page has one line in docs/index.md, of which the site's sidebar is made, and each line a page."""
    assert sorted(listed()) == sorted(sources())


def test_pages_of_the_folder_above() -> None:
    """The pages that stand for one in the folder above say nothing else, so that the site shows that one."""
    for name in _ABOVE:
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        assert text == f"See [{name.upper()}.md](../{name.upper()}.md).\n"


@pytest.mark.parametrize("module", ["pyshard", "pyshard.aio", "pyshard.backup", "pyshard.testing"])
def test_public_names_are_documented(module: str) -> None:
    """Each public name has its docstring on a page of the API; those that two modules have, on one."""
    home = import_module(module)
    has = {id(_found(name)) for name in documented()}
    lacking = [name for name in home.__all__ if not name.startswith("__") and id(getattr(home, name)) not in has]
    assert [name for name in lacking if name != "PyshardError"] == []  # in the module of errors, as all of them


def _found(name: str) -> object:
    """What a dotted name stands for: of a function and a module with one name, the function."""
    module, _, attribute = name.rpartition(".")
    found: object = getattr(import_module(module), attribute, None)
    return found or import_module(name)


def _docstrings() -> Iterator[tuple[str, str]]:
    """The path of each module, and each text in it."""
    for path in sorted(Path(pyshard.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ".md" in node.value:
                yield path.name, node.value


def test_pages_named_in_code_exist() -> None:
    """A page that a docstring or a message names is there."""
    named = {(path, page) for path, text in _docstrings() for page in re.findall(r"\bdocs/[\w-]+\.md\b", text)}
    assert named
    assert [(path, page) for path, page in sorted(named) if not (CHECKOUT / page).exists()] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_links_within_a_page_lead_to_headings(page: Path) -> None:
    """A link to a place of the same page leads to a heading, by the name that forges and the site give it."""
    text = page.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert [place for place in re.findall(r"\]\(#([^)]+)\)", text) if place not in headings] == []


def glossary() -> list[str]:
    """The words that docs/glossary.md explains."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words: list[str] = re.findall(r"^\| (?!word \||---)(.+?) \| .+ \|$", text, re.MULTILINE)
    return words


def test_glossary_has_the_words_of_users_pages() -> None:
    """It is in order, each word once, and has those that messages and tables use without a word on them."""
    assert glossary() == sorted(set(glossary()))
    assert {"ballot", "box", "epoch", "feed", "group", "incarnation", "slot"} <= set(glossary())


@pytest.mark.parametrize("page", ["availability", "cli", "growing", "limits", "running", "architecture", "development"])
def test_pages_name_the_glossary(page: str) -> None:
    """Whoever meets one of its words on a page is told where it is explained, and so is who works on the code."""
    assert "docs/glossary.md" in (DOCS / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("command", "shown"), [("replica list", replica_table([])), ("stat", stat_table([]))])
def test_columns_are_explained(command: str, shown: Table) -> None:
    """docs/cli.md says what each column of these tables means, in their order."""
    told = (DOCS / "cli.md").read_text(encoding="utf-8").partition(f"| column of `{command}` |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (?!---)(.+?) \| .+ \|$", told, re.MULTILINE)
    assert [name for row in rows for name in row.split(", ")] == [column.header for column in shown.columns]


# -- the site as it was built --------------------------------------------------------------------------------------


def _html(page: str) -> str:
    return (Path(SITE) / f"{page}.html").read_text(encoding="utf-8")


def _commands(command: click.Command, name: str) -> Iterator[str]:
    """The name of a command, and those of all below it."""
    yield name
    if isinstance(command, ListedCommand):
        command = command.load()
    if isinstance(command, click.Group):
        for below, one in command.commands.items():
            yield from _commands(one, f"{name} {below}")


@built
def test_every_subcommand_is_shown() -> None:
    """The page on the command has a heading for each subcommand, those of subcommands included, with its options."""
    text = _html("command")
    headings = {re.sub(r"<.*?>", "", found).strip("¶ ") for found in re.findall(r"<h\d>(.*?)</h\d>", text)}
    assert [
        name for name in _commands(cli, "pyshard") if name not in headings and name.split()[-1] not in headings
    ] == []
    assert [option for option in ("if-absent", "durability", "weights", "role") if f"--{option}" not in text] == []


@built
def test_every_public_name_is_shown() -> None:
    """Each documented name can be linked to, and each verb of the Deferred client, with what it inherits."""
    places = "".join(path.read_text(encoding="utf-8") for path in (Path(SITE) / "api").glob("*.html"))
    assert [name for name in documented() if f'id="{name}"' not in places and f'id="module-{name}"' not in places] == []
    verbs = [name for name in dir(pyshard.Client) if not name.startswith("_")]
    assert [verb for verb in verbs if f'id="pyshard.Client.{verb}"' not in places] == []


@built
def test_names_of_pages_are_links() -> None:
    """In a sentence, and in a docstring, the name of a page has become a link to it."""
    assert 'href="containers.html"' in _html("running")
    assert re.search(r'href="\.\./tls\.html"[^>]*>', _html("api/deferred"))
    for page in listed():
        sentences = re.sub(r"<(code|pre|title|h\d|script)\b.*?</\1>", "", _html(page), flags=re.DOTALL)
        assert (
            re.findall(r"\bdocs/(?!protocol-vectors|architecture)[\w-]+\.md", unescape(re.sub(r"<.*?>", "", sentences)))
            == []
        )


@built
def test_nothing_is_asked_of_others() -> None:
    """No page loads anything from another site: no script, font, picture or style."""
    for path in [*Path(SITE).rglob("*.html"), *Path(SITE).rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"""<(?:script|img|iframe|link)\b[^>]*(?:src|href)=["'](?:https?:)?//[^"']*""", text) == []
        assert re.findall(r"""(?:url\(|@import )["']?(?:https?:)?//[^"')]*""", text) == []
