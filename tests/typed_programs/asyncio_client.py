"""A program with the client for asyncio, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict, assert_type

from pyshard import Document, Record, TypedItem, TypedRecord
from pyshard.aio import AioClient, AioIndex, AioTypedIndex, connect


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


def counted(document: dict[str, int]) -> dict[str, int]:
    """A function for `update`, with types."""
    return document | {"n": document["n"] + 1}


async def main() -> None:
    """What is written and read, one by one and many at once."""
    async with connect("pyshard://localhost/pages?deadline=5", addresses={"10.0.0.5:5050": "db:15050"}) as client:
        assert_type(client, AioClient)
        await client.write("ann", {"likes": ["tea", "rain"], "age": 30})
        record = await client.read("ann")
        if record is not None:
            document = record["record"]
            if isinstance(document, dict):
                print(document["likes"])
        assert_type(client.read("ann"), asyncio.Future[Record | None])
        likes = await client.get("ann", type=dict[str, list[str]])
        assert_type(likes["tea"][0] if likes else "", str)
        assert_type(await client.get("a", 5), Document | int)
        assert_type(await client.get_many("ab", type=Page), list[Page | None])
        assert_type([one.url for one in await client.get_many("ab", type=Page) if one], list[str])
        async for key, document in client.items():
            assert_type(key, str)
            assert_type(document, Document)
        found = await asyncio.gather(*(client.read(key) for key in "ab"))
        assert_type(found, list[Record | None])
        assert_type(await client.has_many(["a", "b"]), list[bool])
        pages = client.index("pages")
        assert_type(pages, AioIndex)
        async for key in pages.keys():
            print(key.upper())


async def pairs(client: AioClient) -> None:
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


async def typed_index(client: AioClient, page: Page) -> None:
    """An index with a type takes and gives documents of it, and nested fields have their types."""
    pages = client.index("pages", type=Page)
    assert_type(pages, AioTypedIndex[Page])
    assert_type(pages.untyped, AioIndex)
    assert_type(pages.read("a"), asyncio.Future[TypedRecord[Page] | None])
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


async def everyday_typed(client: AioClient, page: Page) -> None:
    """What `get` and its like take and give on an index with a type."""
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


async def mistakes(client: AioClient, page: Page) -> None:
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


asyncio.run(main())
