"""Indexes whose documents are of one type, with the Deferred client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from clusters import kinds
from deferreds import watch

from pyshard import Client, TypedIndex
from pyshard.errors import InvalidArgument, InvalidDocument, InvalidIndexName, PartialFailure
from pyshard.testing import MemoryCluster

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """A document with a field that is no JSON."""

    url: str
    fetched: datetime = NOON


@pytest.fixture
def pages(cluster: MemoryCluster, client: Client) -> TypedIndex[Page]:
    """An index of pages, with nothing in it."""
    made = client.index("pages", type=Page)
    cluster.run(made.create())
    return made


def test_a_document(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """What is written is stored as a plain dict, and each verb that gives a document gives one of the type."""
    run, page = cluster.run, Page("a")
    assert run(pages.write("a", page)) == 49 + 1 + 49 + 20
    stored, read, item = run(pages.untyped.read("a")), run(pages.read("a")), run(pages.item("a"))
    assert stored is not None
    assert stored["record"] == {"url": "a", "fetched": "2026-11-28T12:00:00Z"}
    assert read is not None
    assert item is not None
    assert read["record"] == item["record"] == page
    assert (item["key"], item["size"], read["hash_"]) == ("a", 49 + 1 + 49 + 20, item["hash_"])
    assert run(pages.pop("a", if_version=item["version"])) == read
    assert [run(pages.read("a")), run(pages.item("a")), run(pages.pop("a"))] == [None] * 3


def test_verbs_without_documents(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """The other verbs are those of the handle without a type."""
    run = cluster.run
    run(pages.write("a", Page("a")))
    assert [run(pages.has("a")), run(pages.touch("a", 5))] == [True, True]
    assert run(pages.has_many(["a", "b"])) == [True, False]
    page: list[str] = run(pages.keys().next_page())
    assert page == ["a"]
    assert run(pages.remove("a")) == run(pages.write("a", Page("a")))
    sizes = run(pages.remove_many(["a"]))
    assert sizes == [49 + 1 + 49 + 20]
    run(pages.drop())
    assert pages.name == "pages"


def test_many(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """Bulk verbs take and give documents of the type, in the order of the keys."""
    run = cluster.run
    assert run(pages.write_many((str(n), Page(str(n))) for n in range(3))) == [49 + 1 + 49 + 20] * 3
    assert run(pages.write_many({"x": Page("x")}, ttl=5)) == [49 + 1 + 49 + 20]
    found = run(pages.read_many(str(n) for n in range(4)))
    assert [one and one["record"] for one in found] == [Page("0"), Page("1"), Page("2"), None]
    assert run(pages.pop_many(str(n) for n in range(4))) == found


def test_everyday_verbs(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """`get`, `add` and `replace` take and give documents of the type; a default is given as it is."""
    run, page, other = cluster.run, Page("a"), Page("b")
    assert run(pages.replace("a", page)) is False
    assert [run(pages.add("a", page)), run(pages.add("a", other))] == [True, False]
    assert run(pages.get("a")) == page
    assert run(pages.replace("a", other)) is True
    assert (run(pages.get("a", page)), run(pages.get("b")), run(pages.get("b", page))) == (other, None, page)
    assert run(pages.add_many({"a": page, "b": page})) == [False, True]
    assert run(pages.get_many(["a", "b", "c"], "none")) == [other, page, "none"]

    async def scan() -> dict[str, Page]:
        return {key: document async for key, document in pages.items()}

    assert run(scan()) == {"a": other, "b": page}
    assert pages.locate("a") == pages.untyped.locate("a")
    assert [run(pages.count()), run(pages.clear()), run(pages.count())] == [2, 2, 0]


def test_update(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """The function is given a document of the type, or the default, and gives the new one, which is the result."""
    run = cluster.run

    def longer(page: Page) -> Page:
        return Page(page.url + "/", page.fetched)

    assert run(pages.update("a", longer)) is None
    assert run(pages.update("a", longer, default=Page("a"))) == Page("a/")
    assert run(pages.update("a", longer, default=Page("b"))) == Page("a//") == run(pages.get("a"))
    nothing: Any = lambda _: None  # noqa: E731
    bad: Any = lambda _: 5  # noqa: E731
    refused: list[tuple[Any, type[Exception]]] = [
        (nothing, InvalidArgument),
        (bad, InvalidDocument),
        (5, InvalidArgument),
    ]
    for function, error in refused:
        with pytest.raises(error):
            run(pages.update("a", function))
    with pytest.raises(InvalidDocument):
        run(pages.update("a", longer, default=bad))
    run(pages.untyped.write("a", 5))
    with pytest.raises(InvalidDocument, match="the document of key 'a' is no Page"):
        run(pages.update("a", longer))


def test_items_that_do_not_fit(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """One that doesn't fit is an error in its place; the iteration goes on, and a page has the outcome of each key."""
    run = cluster.run
    run(pages.write_many({"a": Page("a"), "c": Page("c")}))
    run(pages.untyped.write("b", 5))

    async def scan() -> set[object]:
        found: set[object] = set()
        items = pages.items()
        while True:
            try:
                found.add(await anext(items))
            except InvalidDocument as error:
                found.add(str(error)[:23])
            except StopAsyncIteration:
                return found

    assert run(scan()) == {("a", Page("a")), ("c", Page("c")), "the document of key 'b'"}

    async def pages_of() -> list[list[tuple[str, Page]]]:
        found, items = [], pages.items()
        while page := await items.next_page():
            found.append(page)
        return found

    with pytest.raises(PartialFailure) as failed:
        run(pages_of())
    assert [key for key, _ in failed.value.failed] == ["b"]


@pytest.mark.parametrize("verb", ["get", "get_many"])
def test_a_type_for_one_call(cluster: MemoryCluster, client: Client, verb: str) -> None:
    """Without an index of a type, ``type=`` converts what is got; a bad one is refused before anything is sent."""
    cluster.run(client.write("a", {"url": "a"}))
    keys: Any = "a" if verb == "get" else ["a"]
    found = cluster.run(getattr(client, verb)(keys, type=Page))
    assert found == (Page("a") if verb == "get" else [Page("a")])
    outcome = watch(getattr(client, verb)(keys, type=Client))
    assert kinds([outcome]) == [[InvalidArgument]]


def test_what_does_not_fit_is_not_written(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """A value of another shape fails before anything is sent; among many it fails for its key alone."""
    bad: Any = Page(5)  # type: ignore[arg-type]
    outcome = watch(pages.write("a", bad))
    assert kinds([outcome]) == [[InvalidDocument]]
    assert str(outcome[0]) == "the document of key 'a' is no Page: Expected `str`, got `int` - at `$.url`"
    with pytest.raises(PartialFailure) as failed:
        cluster.run(pages.write_many([("a", bad), ("b", Page("b")), ("c", bad)]))
    why = "is no Page: Expected `str`, got `int` - at `$.url`"
    assert [(key, str(error)) for key, error in failed.value.failed] == [
        (key, f"the document of key '{key}' {why}") for key in "ac"
    ]
    assert cluster.run(pages.has_many(["a", "b", "c"])) == [False, True, False]


@pytest.mark.parametrize("verb", ["read", "item", "pop"])
def test_what_does_not_fit_is_not_given(cluster: MemoryCluster, pages: TypedIndex[Page], verb: str) -> None:
    """A document that somebody stored in another shape is an error that names the key, the type and the field.

    One that was popped is gone, and the error says so.
    """
    cluster.run(pages.untyped.write("a", {"url": None}))
    with pytest.raises(
        InvalidDocument, match="the document of key 'a' is no Page: Expected `str`, got `null` - at"
    ) as no:
        cluster.run(getattr(pages, verb)("a"))
    assert str(no.value).endswith("it was removed") is (verb == "pop") is not cluster.run(pages.has("a"))


@pytest.mark.parametrize("verb", ["read_many", "pop_many"])
def test_what_does_not_fit_among_many(cluster: MemoryCluster, pages: TypedIndex[Page], verb: str) -> None:
    """One that doesn't fit is its own key's outcome; the others have their documents, also beside other errors."""
    cluster.run(pages.write("a", Page("a")))
    cluster.run(pages.untyped.write("b", 1))
    keys: Any = ["a", "b", "none", None]
    with pytest.raises(PartialFailure) as failed:
        cluster.run(getattr(pages, verb)(keys))
    outcomes: list[Any] = failed.value.outcomes
    (key, found), _, missing, _ = outcomes
    assert (key, found["record"], missing) == ("a", Page("a"), ("none", None))
    assert [key for key, _ in failed.value.failed] == ["b", None]
    assert str(failed.value.failed[0][1]).endswith("it was removed") is (verb == "pop_many")


def test_other_failures_of_many(cluster: MemoryCluster, pages: TypedIndex[Page]) -> None:
    """What isn't about single keys stays as it is: one key in place of many, and what the iterable raises."""

    def broken() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    one: Any = "key"
    outcomes = [watch(verb) for verb in (pages.read_many(one), pages.read_many(broken()), pages.write_many(one))]
    cluster.advance(1)
    assert kinds(outcomes) == [[InvalidArgument], [ZeroDivisionError], [InvalidArgument]]


def test_handles_that_are_refused(client: Client) -> None:
    """A name that can't be an index's, and a type that can't be documents', are refused at once."""
    with pytest.raises(InvalidIndexName):
        client.index("a/b", type=Page)
    with pytest.raises(InvalidArgument, match="expected a dataclass, an attrs class"):
        client.index("pages", type=Client)
