"""A program with the blocking client, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict, assert_type

from pyshard import BlockingIndex, BlockingTypedIndex, Document, Pyshard, Record, TypedItem, TypedRecord


@dataclass
class Author:
    """What is nested in a page."""

    name: str


@dataclass
class Page:
    """A dataclass."""

    url: str
    fetched: datetime
    author: Author


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


def counted(document: dict[str, int]) -> dict[str, int]:
    """A function for `update`, with types."""
    return document | {"n": document["n"] + 1}


def addresses() -> None:
    """What a client takes for an address."""
    server, servers = ["localhost", 9192], [["localhost", 9192], ["other", 9193]]
    for app in (Pyshard(server), Pyshard(servers), Pyshard(("localhost", 9192)), Pyshard(["a:1", "b:2"])):
        app.close()
    shards = {"10.0.0.5:5050": "db.example.com:15050"}
    Pyshard(server, addresses=shards).close()


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


def typed_index(app: Pyshard, page: Page) -> None:
    """An index with a type takes and gives documents of it, and nested fields have their types."""
    pages = app.index("pages", type=Page)
    assert_type(pages, BlockingTypedIndex[Page])
    assert_type(pages.untyped, BlockingIndex)
    assert_type(pages.read("a"), TypedRecord[Page] | None)
    pages.write("a", page)
    pages.write_many({"a": page})
    pages.write_many((url, page) for url in "ab")
    record = pages.read("a")
    if record is not None:
        assert_type(record["record"].author.name, str)
        assert_type(record["record"].fetched.year, int)
    item = pages.item("a")
    if item is not None:
        assert_type(item, TypedItem[Page])
        pages.write("a", item["record"], if_version=item["version"])
    popped = pages.pop("a")
    print(popped["record"].url if popped else "gone")
    found = pages.read_many(["a", "b"])
    assert_type([one["record"] for one in found if one], list[Page])
    assert_type(pages.pop_many("ab"), list[TypedRecord[Page] | None])
    pages.create()


def everyday_typed(app: Pyshard, page: Page) -> None:
    """What `get` and its like take and give on an index with a type."""
    pages = app.index("pages", type=Page)
    found = pages.get("a")
    assert_type(found.author.name if found else "", str)
    assert_type(pages.get("a", page), Page)
    assert_type(pages.get_many(["a", "b"]), list[Page | None])
    assert_type([one.url for one in pages.get_many(["a", "b"]) if one], list[str])
    pages.add("a", page)
    pages.add_many({"a": page})
    pages.replace("a", page)
    assert_type(pages.update("a", lambda page: Page(page.url, page.fetched, page.author)), Page | None)
    pages.update("a", lambda page: page, default=page, ttl=None)
    for key, one in pages.items():
        assert_type((key, one), tuple[str, Page])


def mistakes(app: Pyshard, page: Page) -> None:
    """What is no type of documents, or no document of the type, is found before the program runs."""
    pages = app.index("pages", type=Page)
    pages.write("a", {"url": "a"})  # type: ignore[arg-type]
    pages.write_many({"a": 1})  # type: ignore[arg-type]
    app.write("a", page)  # type: ignore[arg-type]
    app.write("a", {1, 2})  # type: ignore[arg-type]
    pages.add("a", 1)  # type: ignore[arg-type]
    pages.update("a", lambda page: page.url)  # type: ignore[arg-type, return-value]
    print((app.get("a", type=Page)).url)  # type: ignore[union-attr]
    app.index("rows", type=Row).write("a", {"m": 1})  # type: ignore[typeddict-item]
    app.index("pages", type="Page")  # type: ignore[call-overload]
    record = pages.read("a")
    print(record["record"])  # type: ignore[index]
