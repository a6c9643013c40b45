"""A program with the client for asyncio, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict, assert_type

from pyshard import Document, Record
from pyshard.aio import AioClient, AioIndex, connect


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


def counted(document: dict[str, int]) -> dict[str, int]:
    """A function for `update`, with types."""
    return document | {"n": document["n"] + 1}


async def main() -> None:
    """What is written and read, one by one and many at once."""
    async with connect("pyshard://localhost/pages?deadline=5") as client:
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
        await client.write("a", {1, 2})  # type: ignore[arg-type]


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


asyncio.run(main())
