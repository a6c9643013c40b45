"""A program with the client for asyncio, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

import asyncio
from typing import assert_type

from pyshard import Record
from pyshard.aio import AioClient, AioIndex, connect


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
