"""A program with the blocking client, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict, assert_type

from pyshard import BlockingIndex, Document, Pyshard, Record


@dataclass
class Page:
    """A dataclass."""

    url: str


class Color(StrEnum):
    """Keys that are members of an enumeration."""

    RED = "red"


class Row(TypedDict):
    """A TypedDict."""

    n: int


def readme() -> None:
    """The session of README.md."""
    app = Pyshard("localhost:9192")
    size = app.write("ann", {"likes": ["tea", "rain"]})
    assert_type(size, int)
    print(app.get("ann"))
    record = app.read("ann")
    assert_type(record, Record | None)
    if record is not None and isinstance(record["record"], dict):
        print(record["record"]["likes"])
    app.close()


def documents() -> None:
    """What docs/python.md has its sessions do."""
    with Pyshard(["localhost", 9192], deadline=5) as app:
        app.write_many({"a": 1, "b": [2, 3]})  # or pairs of a key and a document
        print([found and found["record"] for found in app.read_many(["b", "nothing", "a"])])
        app.write_many((f"page {n}", {"n": n}) for n in range(10_000))
        item = app.item("seat")
        if item:
            app.write("seat", "Ann", if_version=item["version"])
        assert_type(app.increment("visits", by=10), int)
        likes = app.get("ann", type=dict[str, list[str]])
        assert_type(likes["tea"][0] if likes else "", str)
        assert_type(app.get("a"), Document | None)
        assert_type(app.get("a", 5), Document | int)
        assert_type(app.get_many("ab", type=Page), list[Page | None])
        assert_type([one.url for one in app.get_many("ab", type=Page) if one], list[str])
        assert_type(dict(app.items()), dict[str, Document])
        pages = app.index("pages")
        assert_type(pages, BlockingIndex)
        assert_type(list(pages.keys()), list[str])
        app.write("a", {1, 2})  # type: ignore[arg-type]


def counted(document: dict[str, int]) -> dict[str, int]:
    """A function for `update`, with types."""
    return document | {"n": document["n"] + 1}


def addresses() -> None:
    """What a client takes for an address."""
    server, servers = ["localhost", 9192], [["localhost", 9192], ["other", 9193]]
    for app in (Pyshard(server), Pyshard(servers), Pyshard(("localhost", 9192)), Pyshard(["a:1", "b:2"])):
        app.close()


def pairs(app: Pyshard) -> None:
    """Documents and pairs as programs have them: literals, variables without a type, and variables with one."""
    app.write_many({"a": 1, "b": [2, 3]})
    app.write_many({1: 1, 2: [2, 3]})
    app.write_many([("a", 1), (2, [2, 3])])
    app.write_many((f"page {n}", {"n": n}) for n in range(10))
    app.write_many({f"page {n}": {"n": n} for n in range(10)})
    app.write_many(zip("ab", [1, 2], strict=True))
    mixed = {"a": 1, "b": [2, 3], "c": {"d": None}}
    numbered = {1: "a", 2: ["b"]}
    listed = [("a", 1), ("b", [2, 3])]
    app.write("a", mixed)
    app.write("a", listed)
    app.write_many(mixed)
    app.write_many(numbered)
    app.write_many(listed)
    app.write_many((key, value) for key, value in mixed.items())
    app.add_many(mixed)
    app.add_many(listed)
    texts: dict[str, str] = {}
    counts: Mapping[int, dict[str, int]] = {}
    pairs: list[tuple[str, dict[str, int]]] = []
    colors: dict[Color, int] = {Color.RED: 1}
    either: dict[str | int, list[str]] = {}
    rows: OrderedDict[str, Row] = OrderedDict()
    groups: defaultdict[str, list[int]] = defaultdict(list)
    row: Row = {"n": 1}
    app.write_many(texts)
    app.write_many(counts)
    app.write_many(pairs)
    app.write_many(iter(pairs))
    app.write_many(colors)
    app.write_many(either)
    app.write_many(rows)
    app.write_many(groups.items())
    app.write_many(Counter("text"))
    for document in (texts, pairs, colors, rows, groups, row, Counter("text")):
        app.write("a", document)
        app.add("b", document)
        app.replace("b", document)
    app.update("a", lambda found: {"n": found["n"] + 1, "of": [found]}, default={"n": 0})
    app.update("a", counted)
    app.write_many({b"a": 1})  # type: ignore[arg-type]
    app.write_many("text")  # type: ignore[arg-type]
    app.write_many([1, 2])  # type: ignore[list-item]
