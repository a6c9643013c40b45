"""A program with the Deferred client, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict, assert_type

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard import Client, Document, Index, KeyPages, TypedIndex, TypedItem, TypedRecord, connect


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


@attrs.define
class Point:
    """An attrs class."""

    x: int


class Node(msgspec.Struct):
    """A Struct."""

    name: str


class Color(StrEnum):
    """Keys that are members of an enumeration."""

    RED = "red"


class Row(TypedDict):
    """A TypedDict."""

    n: int


def counted(document: dict[str, int]) -> dict[str, int]:
    """A function for `update`, with types."""
    return document | {"n": document["n"] + 1}


async def addresses(clock: IReactorTime) -> None:
    """What `connect` takes for an address."""
    assert_type(connect(clock, "localhost:9192"), Deferred[Client])
    assert_type(await connect(clock, "pyshard://localhost/pages?deadline=5"), Client)
    await connect(clock, ["localhost", 9192])
    await connect(clock, ["a:1", "b:2"], index="pages", deadline=5, token_file="tokens", tls=False)
    shards = {"10.0.0.5:5050": "db.example.com:15050"}
    await connect(clock, "a:1", addresses=shards)


async def documents(client: Client) -> None:
    """What is read."""
    await client.write("ann", {"likes": ["tea", "rain"], "age": 30})
    record = await client.read("ann")
    if record is not None:
        assert_type(record["hash_"], float)
        document = record["record"]
        if isinstance(document, dict):
            print(document["likes"])
    item = await client.item("ann")
    await client.write("ann", 1, if_version=item["version"] if item else None)
    assert_type(await client.has_many(["a", "b"]), list[bool])
    keys = client.keys()
    assert_type(keys, KeyPages)
    print([key.upper() async for key in keys])


async def pairs(client: Client) -> None:
    """Documents and pairs as programs have them: literals, variables without a type, and variables with one."""
    await client.write_many({"a": 1, "b": [2, 3]})
    await client.write_many({1: 1, 2: [2, 3]})
    await client.write_many([("a", 1), (2, [2, 3])])
    await client.write_many((f"page {n}", {"n": n}) for n in range(10))
    await client.write_many({f"page {n}": {"n": n} for n in range(10)})
    await client.write_many(zip("ab", [1, 2], strict=True))
    mixed = {"a": 1, "b": [2, 3], "c": {"d": None}}
    numbered = {1: "a", 2: ["b"]}
    listed = [("a", 1), ("b", [2, 3])]
    await client.write("a", mixed)
    await client.write("a", listed)
    await client.write_many(mixed)
    await client.write_many(numbered)
    await client.write_many(listed)
    await client.write_many((key, value) for key, value in mixed.items())
    await client.add_many(mixed)
    await client.add_many(listed)
    texts: dict[str, str] = {}
    counts: Mapping[int, dict[str, int]] = {}
    pairs: list[tuple[str, dict[str, int]]] = []
    colors: dict[Color, int] = {Color.RED: 1}
    either: dict[str | int, list[str]] = {}
    rows: OrderedDict[str, Row] = OrderedDict()
    groups: defaultdict[str, list[int]] = defaultdict(list)
    row: Row = {"n": 1}
    await client.write_many(texts)
    await client.write_many(counts)
    await client.write_many(pairs)
    await client.write_many(iter(pairs))
    await client.write_many(colors)
    await client.write_many(either)
    await client.write_many(rows)
    await client.write_many(groups.items())
    await client.write_many(Counter("text"))
    for document in (texts, pairs, colors, rows, groups, row, Counter("text")):
        await client.write("a", document)
        await client.add("b", document)
        await client.replace("b", document)
    await client.update("a", lambda found: {"n": found["n"] + 1, "of": [found]}, default={"n": 0})
    await client.update("a", counted)
    await client.write_many({b"a": 1})  # type: ignore[arg-type]
    await client.write_many("text")  # type: ignore[arg-type]
    await client.write_many([1, 2])  # type: ignore[list-item]


async def typed_index(client: Client, page: Page) -> None:
    """An index with a type takes and gives documents of it, and nested fields have their types."""
    pages = client.index("pages", type=Page)
    assert_type(pages, TypedIndex[Page])
    assert_type(pages.untyped, Index)
    assert_type(pages.read("a"), Deferred[TypedRecord[Page] | None])
    await pages.write("a", page)
    await pages.write_many({"a": page})
    await pages.write_many((url, page) for url in "ab")
    record = await pages.read("a")
    if record is not None:
        assert_type(record["record"].author.name, str)
        assert_type(record["record"].fetched.year, int)
    item = await pages.item("a")
    if item is not None:
        assert_type(item, TypedItem[Page])
        await pages.write("a", item["record"], if_version=item["version"])
    popped = await pages.pop("a")
    print(popped["record"].url if popped else "gone")
    found = await pages.read_many(["a", "b"])
    assert_type([one["record"] for one in found if one], list[Page])
    assert_type(await pages.pop_many("ab"), list[TypedRecord[Page] | None])
    await pages.create()


async def everyday(client: Client, page: Page) -> None:
    """What `get` and its like give, by the type that they are given, or that the index has."""
    assert_type(await client.get("a"), Document | None)
    assert_type(await client.get("a", 5), Document | int)
    assert_type(client.get("a", type=Page), Deferred[Page | None])
    assert_type(await client.get("a", page, type=Page), Page)
    assert_type(await client.get("a", None, "pages", type=Row), Row | None)
    likes = await client.get("ann", type=dict[str, list[str]])
    assert_type(likes["tea"][0] if likes else "", str)
    assert_type(await client.get_many("ab", type=Page), list[Page | None])
    assert_type(await client.add("a", {"n": 1}), bool)
    assert_type(await client.replace("a", [1, "b"], ttl=5), bool)
    async for key, document in client.items():
        assert_type(key, str)
        assert_type(document, Document)
    pages = client.index("pages", type=Page)
    found = await pages.get("a")
    assert_type(found.author.name if found else "", str)
    assert_type(await pages.get("a", page), Page)
    assert_type(await pages.get_many(["a", "b"]), list[Page | None])
    assert_type([one.url for one in await pages.get_many(["a", "b"]) if one], list[str])
    await pages.add("a", page)
    await pages.add_many({"a": page})
    await pages.replace("a", page)
    assert_type(await pages.update("a", lambda page: Page(page.url, page.fetched, page.author)), Page | None)
    await pages.update("a", lambda page: page, default=page, ttl=None)
    async for key, one in pages.items():
        assert_type((key, one), tuple[str, Page])


async def other_types(client: Client) -> None:
    """Each kind of type that msgspec knows."""
    points = client.index("points", type=Point)
    nodes = client.index("nodes", type=Node)
    rows = client.index("rows", type=Row)
    await points.write("a", Point(1))
    await nodes.write("a", Node("a"))
    await rows.write("a", {"n": 1})
    row = await rows.read("a")
    assert_type(row["record"]["n"] if row else 0, int)


async def mistakes(client: Client, page: Page) -> None:
    """What is no type of documents, or no document of the type, is found before the program runs."""
    pages = client.index("pages", type=Page)
    await pages.write("a", {"url": "a"})  # type: ignore[arg-type]
    await pages.write_many({"a": 1})  # type: ignore[arg-type]
    await client.write("a", page)  # type: ignore[arg-type]
    await client.write("a", {1, 2})  # type: ignore[arg-type]
    await pages.add("a", 1)  # type: ignore[arg-type]
    await pages.update("a", lambda page: page.url)  # type: ignore[arg-type, return-value]
    print((await client.get("a", type=Page)).url)  # type: ignore[union-attr]
    await client.index("rows", type=Row).write("a", {"m": 1})  # type: ignore[typeddict-item]
    client.index("pages", type="Page")  # type: ignore[call-overload]
    record = await pages.read("a")
    print(record["record"])  # type: ignore[index]
