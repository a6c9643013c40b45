"""Indexes whose documents are of one type, with the asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from aio.loop_cluster import LoopCluster, run

from pyshard.aio import AioClient, AioTypedIndex, connect
from pyshard.errors import InvalidArgument, InvalidDocument, InvalidIndexName, OutcomeUnknown, PartialFailure

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """A document with a field that is no JSON."""

    url: str
    fetched: datetime = NOON


#: The size of a page whose URL is one letter.
SIZE = 49 + 1 + 49 + 20


@asynccontextmanager
async def empty() -> AsyncIterator[AioTypedIndex[Page]]:
    """An index of pages, with nothing in it."""
    async with LoopCluster() as cluster, connect(cluster.server) as client:
        pages = client.index("pages", type=Page)
        await pages.create()
        yield pages


def with_pages(work: Callable[[AioTypedIndex[Page]], Awaitable[None]]) -> None:
    """Have a coroutine function work on an empty index."""

    async def main() -> None:
        async with empty() as pages:
            await work(pages)

    run(main)


def test_a_document() -> None:
    """What is written is stored as a plain dict, and each verb that gives a document gives one of the type."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        page = Page("a")
        assert await pages.write("a", page) == SIZE
        stored, read, item = await asyncio.gather(pages.untyped.read("a"), pages.read("a"), pages.item("a"))
        assert stored is not None
        assert stored["record"] == {"url": "a", "fetched": "2026-11-28T12:00:00Z"}
        assert read is not None
        assert item is not None
        assert read["record"] == item["record"] == page
        assert (item["key"], item["size"], read["hash_"]) == ("a", SIZE, item["hash_"])
        assert await pages.write("a", page, if_version=item["version"] + 1) == 0
        assert await pages.pop("a", if_version=item["version"] + 1) is None
        assert await pages.pop("a", if_version=item["version"]) == read
        assert [await pages.read("a"), await pages.item("a"), await pages.pop("a")] == [None] * 3
        with pytest.raises(InvalidArgument):
            await pages.pop("a", if_version=-1)

    with_pages(work)


def test_verbs_without_documents() -> None:
    """The other verbs are those of the handle without a type."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        await pages.write("a", Page("a"))
        assert [await pages.has("a"), await pages.touch("a", 5)] == [True, True]
        assert await pages.has_many(["a", "b"]) == [True, False]
        keys = pages.keys()
        assert [key async for key in keys] == ["a"]
        assert await pages.remove("a") == await pages.write("a", Page("a"))
        assert await pages.remove_many(["a"]) == [SIZE]
        assert pages.locate("a") == pages.untyped.locate("a")
        assert await pages.write_many({"a": Page("a"), "b": Page("b")}) == [SIZE] * 2
        assert [await pages.count(), await pages.clear(), await pages.count()] == [2, 2, 0]
        await pages.drop()
        assert pages.name == "pages"

    with_pages(work)


def test_everyday_verbs() -> None:
    """`get` and its like take and give documents of the type; a default is given as it is."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        page, other = Page("a"), Page("b")
        assert await pages.replace("a", page) is False
        assert [await pages.add("a", page), await pages.add("a", other)] == [True, False]
        assert await pages.get("a") == page
        assert await pages.replace("a", other) is True
        assert [await pages.get("a", page), await pages.get("b"), await pages.get("b", page)] == [other, None, page]
        assert await pages.add_many({"a": page, "b": page}) == [False, True]
        assert await pages.get_many(["a", "b", "c"], "none") == [other, page, "none"]
        assert {key: one async for key, one in pages.items()} == {"a": other, "b": page}

    with_pages(work)


def test_update() -> None:
    """The function is given a document of the type, or the default, and gives the new one, which is the result."""

    def longer(page: Page) -> Page:
        return Page(page.url + "/", page.fetched)

    async def work(pages: AioTypedIndex[Page]) -> None:
        assert await pages.update("a", longer) is None
        assert await pages.update("a", longer, default=Page("a")) == Page("a/")
        assert await pages.update("a", longer, default=Page("b")) == Page("a//") == await pages.get("a")
        bad: Any = lambda _: 5  # noqa: E731
        with pytest.raises(InvalidDocument):
            await pages.update("a", bad)
        with pytest.raises(InvalidArgument):
            await pages.update("a", 5)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InvalidDocument):
            await pages.update("a", longer, default=bad)
        await pages.untyped.write("a", 5)
        with pytest.raises(InvalidDocument, match="the document of key 'a' is no Page"):
            await pages.update("a", longer)

    with_pages(work)


def test_many() -> None:
    """Bulk verbs take and give documents of the type, in the order of the keys."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        assert await pages.write_many((str(n), Page(str(n))) for n in range(3)) == [SIZE] * 3
        found = await pages.read_many(str(n) for n in range(4))
        assert [one and one["record"] for one in found] == [Page("0"), Page("1"), Page("2"), None]
        assert await pages.pop_many(str(n) for n in range(4)) == found

    with_pages(work)


def test_what_does_not_fit() -> None:
    """It is neither written nor given; a document that was popped is gone, and the error says so."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        bad: Any = Page(5)  # type: ignore[arg-type]
        why = "the document of key 'a' is no Page: Expected `str`, got `int` - at `$.url`"
        for write in (pages.write, pages.add, pages.replace):
            with pytest.raises(InvalidDocument) as refused:
                await write("a", bad)
            assert str(refused.value) == why
        await pages.untyped.write("a", {"url": 5})
        for verb in ("read", "item", "get", "pop"):
            with pytest.raises(InvalidDocument) as refused:
                await getattr(pages, verb)("a")
            assert str(refused.value) == why + ("; it was removed" if verb == "pop" else "")
        assert not await pages.has("a")

    with_pages(work)


def test_what_does_not_fit_among_many() -> None:
    """One that doesn't fit is its own key's outcome; the others have their documents, or are written."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        bad: Any = Page(5)  # type: ignore[arg-type]
        for write in (pages.write_many, pages.add_many):
            with pytest.raises(PartialFailure) as failed:
                await write([("a", Page("a")), ("b", bad)])
            assert [key for key, _ in failed.value.failed] == ["b"]
        await pages.untyped.write("b", 1)
        for verb in (pages.read_many, pages.get_many, pages.pop_many):
            with pytest.raises(PartialFailure) as failed:
                await verb(["a", "b", "none"])
            outcomes: list[Any] = failed.value.outcomes
            (key, found), _, missing = outcomes
            assert (key, found if verb == pages.get_many else found["record"]) == ("a", Page("a"))
            assert missing == ("none", None)
            assert [(key, type(error)) for key, error in failed.value.failed] == [("b", InvalidDocument)]

    with_pages(work)


def test_items_that_do_not_fit() -> None:
    """One that doesn't fit is an error in its place, and the iteration goes on behind it."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        await pages.write_many({"a": Page("a"), "c": Page("c")})
        await pages.untyped.write("b", 5)
        found: set[object] = set()
        items = pages.items()
        while True:
            try:
                found.add(await anext(items))
            except InvalidDocument as error:
                found.add(str(error)[:23])
            except StopAsyncIteration:
                break
        assert found == {("a", Page("a")), ("c", Page("c")), "the document of key 'b'"}

    with_pages(work)


def test_a_change_that_is_cancelled() -> None:
    """Who cancels a change of a document of the type is told, as of any change, that it may have happened."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        async def wait(change: Awaitable[object]) -> None:
            await change

        for change in (pages.write("a", Page("a")), pages.pop("a"), pages.add("a", Page("a"))):
            task = asyncio.create_task(wait(change))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await task
            assert isinstance(cancelled.value.__cause__, OutcomeUnknown)

    with_pages(work)


def test_handles_that_are_refused() -> None:
    """A name that can't be an index's, and a type that can't be documents', are refused at once."""

    async def work(pages: AioTypedIndex[Page]) -> None:
        client = pages.untyped._client
        with pytest.raises(InvalidIndexName):
            client.index("a/b", type=Page)
        with pytest.raises(InvalidArgument, match="expected a dataclass, an attrs class"):
            client.index("pages", type=AioClient)

    with_pages(work)
