"""The structure of the package as a reader meets it: names that mean one thing, files that can be read in one go.

Rules kept by these tests:

- a class name stands once in the package, so that a name alone says which class is meant;
- a module name stands once, or names the same thing on each floor (`SAME_THING`);
- a module has at most `LONGEST` lines, and the median module is short;
- a module says what it is for within its first lines;
- modules don't import each other in a circle, not even within one package.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

import pyshard

PACKAGE = Path(pyshard.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
CHECKOUT = Path(__file__).parent.parent
COMPILED = sorted((CHECKOUT / "pyshard").rglob("*.pyx"))  # no wheel has them

#: Lines that a module may have: a longer one has two subjects.
LONGEST = 350

#: Lines within which a module says what it is for, and which rules it keeps.
HEADER = 25

#: How a module names a test file.
NAMED_TEST = re.compile(r"tests/[\w/]+\.py")

#: Modules that stand at the top of the package, beside the packages.
TOP = {"__init__", "__main__", "clocks", "message_texts", "errors", "settings"}

#: Module names that stand more than once, always for the same thing.
SAME_THING = {
    "client": "the verbs of a client, with Deferreds and on asyncio",
    "command": "a subcommand of a package of its own",
    "connect": "makes such a client",
    "hidden_records": "records that nobody sees, in memory and durable",
    "index_handle": "a handle on one index, of each client",
    "index_records": "the records of one index, in memory and durable",
    "plugin": "what twistd runs, of each daemon",
    "protocol": "a daemon's Twisted protocol",
    "service": "a daemon's Twisted service",
    "typed_index": "a handle on one index with documents of one type, of each client",
    "store": "a store, in memory and durable",
}


def module_of(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(["pyshard", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def classes(source: str) -> Iterator[str]:
    """The names of all classes that a file defines at its top."""
    return (node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef))


def says_what_it_is_for(source: str) -> bool:
    """Whether a file begins with a docstring that ends within its first lines."""
    match ast.parse(source).body:
        case [ast.Expr(value=ast.Constant(value=str()), end_lineno=int(end)), *_]:
            return end <= HEADER
        case _:
            return False


def repeated(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Those names that stand in several places."""
    return {name: places for name, places in names.items() if len(places) > 1}


def imports(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that a file needs when it is loaded: not those for type checkers or in functions."""
    found: set[str] = set()
    for node in _loaded(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in known else node.module)
    return {name for name in found if name in known and name != module_of(path)}


def _loaded(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from _loaded(node.body)
            yield from _loaded(node.orelse)
        elif isinstance(node, ast.Try):
            for block in (node.body, node.orelse, node.finalbody, *(handler.body for handler in node.handlers)):
                yield from _loaded(block)
        else:
            yield node


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, in order; empty: there are none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if found := visit(target, [*way, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := visit(name, []):
            return found
    return []


def test_class_names_stand_once() -> None:
    """No two classes of the package have one name."""
    names: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for name in classes(path.read_text(encoding="utf-8")):
            names[name.lstrip("_")].append(module_of(path))
    assert repeated(names) == {}


def test_module_names_mean_one_thing() -> None:
    """A module's name stands once, or is listed with the one thing that it names; the list has nothing else."""
    names: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        if not path.stem.startswith("__"):
            names[path.stem].append(module_of(path))
    assert repeated(names).keys() == SAME_THING.keys()


def test_only_the_ground_stands_at_the_top() -> None:
    """Beside the packages stand clocks, errors with their texts, and settings alone."""
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP


def test_modules_are_short() -> None:
    """No module is longer than one subject needs, whether it is compiled or not."""
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in [*FILES, *COMPILED]}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_the_median_module_is_short() -> None:
    """Half of the modules fit on a few screens, and they aren't crumbs either."""
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if path.stem != "__init__"]
    assert 80 <= median(lengths) <= 200


def test_modules_say_what_they_are_for() -> None:
    """A module begins with a docstring that fits into its first lines."""
    assert [module_of(path) for path in FILES if not says_what_it_is_for(path.read_text(encoding="utf-8"))] == []


def test_named_tests_exist() -> None:
    """A test file that a module names, such as one that compares it with its plain twin, is there."""
    named = {(module_of(path), name) for path in FILES for name in NAMED_TEST.findall(path.read_text(encoding="utf-8"))}
    assert named
    assert [(module, name) for module, name in sorted(named) if not (CHECKOUT / name).is_file()] == []


def test_no_circles() -> None:
    """Modules import each other in one direction, within a package too."""
    known = {module_of(path) for path in FILES}
    assert circle({module_of(path): imports(path, known) for path in FILES if path.stem != "__init__"}) == []


# -- the rules themselves, on small examples -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, []),
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b", "c"}, "b": {"c"}}, []),
        ({"a": {"b"}, "b": {"a"}}, ["a", "b", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_circles_are_found(graph: dict[str, set[str]], expected: list[str]) -> None:
    """A circle is named from the module at which it begins; a diamond is none."""
    assert circle(graph) == expected


def test_names_of_classes() -> None:
    """Classes at the top of a file count, those within others don't."""
    assert list(classes("class A:\n    class B: ...\nclass C: ...\ndef f(): ...")) == ["A", "C"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""What it is for."""\nimport ast', True),
        ('"""' + "\n" * (HEADER - 1) + '"""', True),
        ('"""' + "\n" * HEADER + '"""', False),
        ("import ast", False),
        ("b'bytes'", False),
        ("", False),
    ],
)
def test_what_says_what_it_is_for(source: str, expected: bool) -> None:
    """A docstring says it, if it isn't too long."""
    assert says_what_it_is_for(source) is expected


def test_repeated_names() -> None:
    """Only names with several places are left."""
    assert repeated({"a": ["x"], "b": ["x", "y"]}) == {"b": ["x", "y"]}
