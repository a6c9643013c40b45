"""Indexes whose documents are of one type, with the blocking client."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from pyshard import BlockingTypedIndex, Pyshard
from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.errors import InvalidArgument, InvalidDocument, InvalidIndexName, PartialFailure
from pyshard.net.connection_parameters import connection_parameters

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """A document with a field that is no JSON."""

    url: str
    fetched: datetime = NOON


#: The size of a page whose URL is one letter.
SIZE = 49 + 1 + 49 + 20


@pytest.fixture
def pages(app: Pyshard) -> BlockingTypedIndex[Page]:
    """An index of pages, with nothing in it."""
    made = app.index("pages", type=Page)
    made.create()
    return made


def test_a_document(pages: BlockingTypedIndex[Page]) -> None:
    """What is written is stored as a plain dict, and each verb that gives a document gives one of the type."""
    page = Page("a")
    assert pages.write("a", page) == SIZE
    stored, read, item = pages.untyped.read("a"), pages.read("a"), pages.item("a")
    assert stored is not None
    assert stored["record"] == {"url": "a", "fetched": "2026-11-28T12:00:00Z"}
    assert read is not None
    assert item is not None
    assert read["record"] == item["record"] == page
    assert (item["key"], item["size"], read["hash_"]) == ("a", SIZE, item["hash_"])
    assert pages.write("a", page, if_version=item["version"] + 1) == 0
    assert pages.pop("a", if_version=item["version"]) == read
    assert [pages.read("a"), pages.item("a"), pages.pop("a")] == [None] * 3


def test_verbs_without_documents(pages: BlockingTypedIndex[Page]) -> None:
    """The other verbs are those of the handle without a type."""
    pages.write("a", Page("a"))
    assert [pages.has("a"), pages.touch("a", 5), pages.has_many(["a", "b"])] == [True, True, [True, False]]
    assert list(pages.keys()) == ["a"]
    assert pages.remove("a") == pages.write("a", Page("a"))
    assert pages.remove_many(["a"]) == [SIZE]
    assert pages.locate("a") == pages.untyped.locate("a")
    assert pages.write_many({"a": Page("a"), "b": Page("b")}) == [SIZE] * 2
    assert [pages.count(), pages.clear(), pages.count()] == [2, 2, 0]
    pages.drop()
    assert pages.name == "pages"


def test_everyday_verbs(pages: BlockingTypedIndex[Page]) -> None:
    """`get` and its like take and give documents of the type; a default is given as it is."""
    page, other = Page("a"), Page("b")
    assert pages.replace("a", page) is False
    assert [pages.add("a", page), pages.add("a", other)] == [True, False]
    assert pages.get("a") == page
    assert pages.replace("a", other) is True
    assert (pages.get("a", page), pages.get("b"), pages.get("b", page)) == (other, None, page)
    assert pages.add_many({"a": page, "b": page}) == [False, True]
    assert pages.get_many(["a", "b", "c"], "none") == [other, page, "none"]
    assert dict(pages.items()) == {"a": other, "b": page}


def test_update(pages: BlockingTypedIndex[Page]) -> None:
    """The function is given a document of the type, or the default, and gives the new one, which is the result."""

    def longer(page: Page) -> Page:
        return Page(page.url + "/", page.fetched)

    assert pages.update("a", longer) is None
    assert pages.update("a", longer, default=Page("a")) == Page("a/")
    assert pages.update("a", longer, default=Page("b"), ttl=60) == Page("a//") == pages.get("a")
    item = pages.item("a")
    assert item is not None
    assert item["expiry"] is not None
    nothing: Any = lambda _: None  # noqa: E731
    bad: Any = lambda _: 5  # noqa: E731
    refused: list[tuple[Any, type[Exception]]] = [
        (nothing, InvalidArgument),
        (bad, InvalidDocument),
        (5, InvalidArgument),
    ]
    for function, error in refused:
        with pytest.raises(error):
            pages.update("a", function)
    with pytest.raises(InvalidDocument):
        pages.update("a", longer, default=bad)
    pages.untyped.write("a", 5)
    with pytest.raises(InvalidDocument, match="the document of key 'a' is no Page"):
        pages.update("a", longer)


def test_many(pages: BlockingTypedIndex[Page]) -> None:
    """Bulk verbs take and give documents of the type, in the order of the keys, and tell how far they are."""
    done: list[int] = []
    assert pages.write_many(((str(n), Page(str(n))) for n in range(3)), progress=done.append) == [SIZE] * 3
    assert done[-1] == 3
    found = pages.read_many(str(n) for n in range(4))
    assert [one and one["record"] for one in found] == [Page("0"), Page("1"), Page("2"), None]
    assert pages.pop_many(str(n) for n in range(4)) == found


def test_what_does_not_fit(pages: BlockingTypedIndex[Page]) -> None:
    """It is neither written nor given; a document that was popped is gone, and the error says so."""
    bad: Any = Page(5)  # type: ignore[arg-type]
    why = "the document of key 'a' is no Page: Expected `str`, got `int` - at `$.url`"
    for write in (pages.write, pages.add, pages.replace):
        with pytest.raises(InvalidDocument) as refused:
            write("a", bad)
        assert str(refused.value) == why
    pages.untyped.write("a", {"url": 5})
    for verb in ("read", "item", "get", "pop"):
        with pytest.raises(InvalidDocument) as refused:
            getattr(pages, verb)("a")
        assert str(refused.value) == why + ("; it was removed" if verb == "pop" else "")
    assert not pages.has("a")


@pytest.mark.parametrize("verb", ["read_many", "pop_many", "get_many"])
def test_what_does_not_fit_among_many(pages: BlockingTypedIndex[Page], verb: str) -> None:
    """One that doesn't fit is its own key's outcome; the others have their documents, also beside other errors."""
    pages.write("a", Page("a"))
    pages.untyped.write("b", 1)
    keys: Any = ["a", "b", "none", None]
    with pytest.raises(PartialFailure) as failed:
        getattr(pages, verb)(keys)
    outcomes: list[Any] = failed.value.outcomes
    (key, found), _, missing, _ = outcomes
    assert (key, found if verb == "get_many" else found["record"], missing) == ("a", Page("a"), ("none", None))
    assert [key for key, _ in failed.value.failed] == ["b", None]


@pytest.mark.parametrize("verb", ["write_many", "add_many"])
def test_what_is_not_written_among_many(pages: BlockingTypedIndex[Page], verb: str) -> None:
    """A document that doesn't fit fails for its key alone."""
    bad: Any = Page(5)  # type: ignore[arg-type]
    with pytest.raises(PartialFailure) as failed:
        getattr(pages, verb)([("a", bad), ("b", Page("b")), ("c", bad)])
    assert [(key, type(error)) for key, error in failed.value.failed] == [
        ("a", InvalidDocument),
        ("c", InvalidDocument),
    ]
    assert pages.has_many(["a", "b", "c"]) == [False, True, False]


def test_other_failures_of_many(pages: BlockingTypedIndex[Page]) -> None:
    """What isn't about single keys stays as it is: one key in place of many, and what the iterable raises."""

    def broken() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    one: Any = "key"
    for verb in (pages.read_many, pages.pop_many, pages.write_many):
        with pytest.raises(InvalidArgument):
            verb(one)
    with pytest.raises(ZeroDivisionError):
        pages.read_many(broken())


def test_items_that_do_not_fit(pages: BlockingTypedIndex[Page]) -> None:
    """One that doesn't fit is an error in its place, and the iteration goes on behind it."""
    pages.write_many({"a": Page("a"), "c": Page("c")})
    pages.untyped.write("b", 5)
    found: set[object] = set()
    items = pages.items()
    while True:
        try:
            found.add(next(items))
        except InvalidDocument as error:
            found.add(str(error)[:23])
        except StopIteration:
            break
    assert found == {("a", Page("a")), ("c", Page("c")), "the document of key 'b'"}


def test_handles_that_are_refused(app: Pyshard) -> None:
    """A name that can't be an index's, and a type that can't be documents', are refused at once."""
    with pytest.raises(InvalidIndexName):
        app.index("a/b", type=Page)
    with pytest.raises(InvalidArgument, match="expected a dataclass, an attrs class"):
        app.index("pages", type=Pyshard)


def test_pickled(pages: BlockingTypedIndex[Page]) -> None:
    """A handle pickles with its client and its type; a copy of it connects anew."""
    made: BlockingTypedIndex[Page] = over(Connector(connection_parameters("pyshard://other:9193"))).index(
        "p", type=Page
    )
    again = pickle.loads(pickle.dumps(made))
    assert again.untyped._app._connector.parameters == made.untyped._app._connector.parameters
    assert (again.name, again._documents.stored("k", Page("a"))["url"]) == ("p", "a")
    pages.write("a", Page("a"))
    other = copy.deepcopy(pages)
    assert other.get("a") == Page("a")
    other.untyped._app.close()
    assert pages.get("a") == Page("a")
