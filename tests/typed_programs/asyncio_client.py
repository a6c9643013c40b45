"""A program with the client for asyncio, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import assert_type

from pyshard import Document, Record
from pyshard.aio import AioClient, AioIndex, connect


@dataclass
class Page:
    """A dataclass."""

    url: str


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
        await client.write_many({"a": 1, "b": [2, 3]})
        assert_type(await client.has_many(["a", "b"]), list[bool])
        pages = client.index("pages")
        assert_type(pages, AioIndex)
        async for key in pages.keys():
            print(key.upper())
        await client.write("a", {1, 2})  # type: ignore[arg-type]


asyncio.run(main())
