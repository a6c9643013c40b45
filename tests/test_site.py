"""The documentation site has every page, every public name and every subcommand, and asks nobody else for anything.

What can be known from the sources is tested everywhere. The rest is of the site as Sphinx has built it, in the folder
that `PYSHARD_TEST_SITE` names: `tox run -e docs` builds it and runs these tests.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from html import unescape
from importlib import import_module
from pathlib import Path

import attrs
import click
import pytest
from blocks import CHECKOUT
from rich.table import Table

import pyshard
from pyshard import Item, Record, TypedItem, TypedRecord
from pyshard.cli import cli
from pyshard.cli.replica_table import replica_table
from pyshard.cli.stat import table as stat_table
from pyshard.cli.subcommands import ListedCommand
from pyshard.client_core.everyday_verbs import Location
from pyshard.errors import BY_CODE, PyshardError
from pyshard.settings import Settings, settings

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
            names.add(name.removesuffix("()"))
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


def _text(html: str) -> str:
    """What a reader sees of a piece of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).replace("¶", "").split())


def _entries(page: str) -> list[tuple[str, str]]:
    """The names that a page of the API documents, as they stand in links, and what each one's head is, as HTML."""
    return re.findall(r'<dt class="sig[^"]*" id="([^"]+)">(.*?)</dt>', _html(page), re.DOTALL)


API = sorted(path.relative_to(DOCS).with_suffix("").as_posix() for path in (DOCS / "api").glob("*.rst"))


@built
@pytest.mark.parametrize("page", API)
def test_heads_are_python(page: str) -> None:
    """Defaults, types and values stand as Python has them: not as how attrs or Sphinx make them, and no page long."""
    heads = {name: _text(head) for name, head in _entries(page)}
    assert heads
    odd = r"attr_dict|\bNOTHING\b|ForwardRef|<class|<[A-Z]\w+\b|= _\w|~|\bUnionType\b"
    assert {name: head for name, head in heads.items() if re.search(odd, head)} == {}
    assert {name: head for name, head in heads.items() if len(head.rpartition(" = ")[2]) > 1000} == {}
    assert "PEP 604" not in _html(page)


@built
def test_settings_have_their_values() -> None:
    """Each setting has its value and what it means, on the page that says so."""
    heads = {name.rpartition(".")[2]: _text(head) for name, head in _entries("api/values")}
    for field in attrs.fields(Settings):
        name, _, value = heads[field.name].partition(" = ")
        assert name.startswith(f"{field.name}: ")
        assert ast.literal_eval(value) == getattr(settings, field.name), field.name
    assert "Seconds that one operation may take" in _html("api/values")
    assert "certificate: Path | str | None = None" in _text(_html("api/values"))


#: Each TypedDict that verbs give, and how the site shows its fields.
TYPED_DICTS = {
    "pyshard.Record": Record,
    "pyshard.Item": Item,
    "pyshard.TypedRecord": TypedRecord,
    "pyshard.TypedItem": TypedItem,
    "pyshard.client_core.everyday_verbs.Location": Location,
}


@built
@pytest.mark.parametrize("name", TYPED_DICTS)
def test_typed_dicts_have_their_fields_alone(name: str) -> None:
    """Each field has its name as it is, with its underscore, and a type; and there is nothing of a dict's methods."""
    shown = _html("api/values").partition(f'id="{name}"')[2].partition('<dl class="py ')[0]
    fields = re.findall(r"<p><strong>(.*?)</strong> \((.*?)\) -- (.*?)</p>", shown, re.DOTALL)
    assert [field for field, _, _ in fields] == list(TYPED_DICTS[name].__annotations__)
    assert [entry for entry, _ in _entries("api/values") if entry.startswith(f"{name}.")] == []


@built
def test_nothing_of_pythons_own_classes_is_shown() -> None:
    """What each exception, dict and object has is in Python's documentation, and not on these pages."""
    own = {name for kind in (BaseException, dict, object) for name in vars(kind)}
    for page in API:
        for name, _ in _entries(page):
            owner, _, member = name.rpartition(".")
            if member in own and isinstance(cls := _found(owner), type):
                assert any(member in vars(base) for base in cls.__mro__ if base.__module__.startswith("pyshard")), name


@built
def test_exceptions_have_their_bases() -> None:
    """Each exception says what it is a subclass of, and is in the tree at the page's head, below that one."""
    text = _html("api/errors")
    tree = text.partition("<h1>")[2].partition("<dl")[0]
    bases: list[str] = []  # those that the current item of the tree is below
    found: dict[str, str | None] = {}
    for tag, name in re.findall(r'<(ul|/ul|a)\b(?:[^>]*title="pyshard\.errors\.(\w+)")?', tree):
        if tag == "ul":
            bases.append("")
        elif tag == "/ul":
            bases.pop()
        elif name:
            bases[-1] = name
            found[name] = bases[-2] if len(bases) > 1 else None
    kinds = {kind.__name__: kind for kind in BY_CODE.values()}
    assert found == {name: None if kind is PyshardError else kind.__mro__[1].__name__ for name, kind in kinds.items()}
    for name, kind in kinds.items():
        told = text.partition(f'id="pyshard.errors.{name}"')[2].partition("</p>")[0]
        assert f"Bases: {kind.__mro__[1].__name__}" in _text(told.partition("</dt>")[2])


@built
@pytest.mark.parametrize("page", API)
def test_types_lead_to_types(page: str) -> None:
    """A type in a head leads to a class or an alias, never to a property of that name; pyshard's own are all links.

    A type that isn't public, and what only the tests of pyshard itself would give, has no place on the site.
    """
    classes = {
        name
        for module in [module for path, module in sys.modules.items() if path.partition(".")[0] == "pyshard"]
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__.startswith("pyshard.") and not name.startswith("_")
    }
    for name, head in _entries(page):
        for target in re.findall(r'<a class="reference internal"[^>]*title="([^"]+)"', head):
            owner = target.rpartition(".")[0]
            assert owner == "pyshard" or not isinstance(_found(owner), type), (name, target)
        unlinked = re.sub(r'<span class="sig-(?:name|prename).*?</span></span>|<a\b.*?</a>', "", head, flags=re.DOTALL)
        types = set(re.findall(r'<span class="n"><span class="pre">(\w+)</span>', unlinked))
        assert types & classes <= {"ClusterState", "IStore", "Tokens"}, name


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
