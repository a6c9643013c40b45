"""Documents of a caller's type: what is stored for them, what comes back, and what is refused."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NotRequired, TypedDict
from uuid import UUID, uuid4

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.client_core.bulk_input import RefusedDocument
from pyshard.client_core.result_decoding import Item
from pyshard.client_core.typed_documents import DocumentType, document_type
from pyshard.errors import InvalidArgument, InvalidDocument
from pyshard.model.document_encoding import decode, encode


class Color(enum.Enum):
    """A field of a few values."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Page:
    """A dataclass with fields that are no JSON."""

    url: str
    fetched: datetime | None = None
    price: Decimal = Decimal(0)
    id: UUID = field(default_factory=uuid4)
    body: bytes = b""
    day: date = date(2026, 1, 1)
    age: timedelta = timedelta(0)
    color: Color = Color.RED
    links: dict[str, int] = field(default_factory=dict)
    sizes: dict[int, float] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    place: tuple[float, float] = (0.0, 0.0)
    parent: Page | None = None


@attrs.frozen
class Point:
    """An attrs class."""

    x: int
    y: int = 0


class Node(msgspec.Struct, frozen=True):
    """A Struct."""

    name: str
    inner: list[Node] = []


class Row(TypedDict):
    """A TypedDict."""

    n: int
    when: NotRequired[datetime]


class Plain:
    """A class of which msgspec knows nothing."""


def stored(kind: type[Any], document: Any) -> Any:
    """What is stored for a document, by way of the bytes of its record."""
    return decode(encode(DocumentType(kind).stored("k", document))[0])


NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "document", "expected"),
    [
        (Point, Point(1, 2), {"x": 1, "y": 2}),
        (Node, Node("a", [Node("b")]), {"name": "a", "inner": [{"name": "b", "inner": []}]}),
        (Row, Row(n=1, when=NOON), {"n": 1, "when": "2026-11-28T12:00:00Z"}),
        (Row, Row(n=2**70), {"n": 2**70}),
        (list[Point], [Point(1)], [{"x": 1, "y": 0}]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (datetime, NOON, "2026-11-28T12:00:00Z"),
        (int, 5, 5),
    ],
)
def test_each_kind_of_type(kind: type[Any], document: Any, expected: object) -> None:
    """What is stored are plain dicts, lists and scalars; the value comes back equal."""
    assert stored(kind, document) == expected
    assert DocumentType(kind).given("k", stored(kind, document)) == document


def test_what_is_no_json() -> None:
    """Times, Decimals, UUIDs, enums and keys that are no str are stored as str, and sets as lists; bytes stay bytes."""
    page = Page("u", NOON, Decimal("1.10"), UUID(int=2), b"\0\xff", sizes={1: 2.0}, tags={"a"}, color=Color.BLUE)
    found = stored(Page, page)
    assert found["fetched"] == "2026-11-28T12:00:00Z"
    assert found["price"] == "1.10"
    assert found["id"] == "00000000-0000-0000-0000-000000000002"
    assert found["body"] == b"\0\xff"
    assert (found["sizes"], found["tags"], found["color"]) == ({"1": 2.0}, ["a"], "blue")
    assert DocumentType(Page).given("k", found) == page


ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
PAGES = st.builds(
    Page,
    url=st.text(st.characters(exclude_categories=["Cs"])),
    fetched=st.none() | st.datetimes() | st.datetimes(timezones=ZONES),
    price=st.decimals(allow_nan=False),
    id=st.uuids(),
    body=st.binary(),
    day=st.dates(),
    age=st.timedeltas(min_value=timedelta(days=-10_000), max_value=timedelta(days=10_000)),
    color=st.sampled_from(Color),
    links=st.dictionaries(st.from_regex("[a-z]*", fullmatch=True), st.integers()),
    sizes=st.dictionaries(st.integers(-(2**60), 2**60), st.floats(allow_nan=False)),
    tags=st.sets(st.from_regex("[a-z]*", fullmatch=True)),
    place=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    parent=st.none() | st.builds(Page, url=st.just("a")),
)


@given(PAGES)
def test_round_trip(page: Page) -> None:
    """What is read equals what was written, for every value of the type."""
    assert DocumentType(Page).given("k", stored(Page, page)) == page


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"url": 5}, "Expected `str`, got `int` - at `$.url`"),
        ({}, "Object missing required field `url`"),
        ({"url": "u", "fetched": "soon"}, "Invalid RFC3339 encoded datetime - at `$.fetched`"),
        ({"url": "u", "parent": {"url": None}}, "Expected `str`, got `null` - at `$.parent.url`"),
        ({"url": "u", "links": {"a": "b"}}, "Expected `int`, got `str` - at `$.links[...]`"),
        ({"url": "u", "body": "AAE="}, "Expected `bytes`, got `str` - at `$.body`"),
        (None, "Expected `object`, got `null`"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_what_does_not_fit(document: Any, why: str) -> None:
    """A stored document that doesn't fit is an error with its key, the type and the field."""
    with pytest.raises(InvalidDocument) as refused:
        DocumentType(Page).given("k", document)
    assert str(refused.value) == f"the document of key 'k' is no Page: {why}"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (Page(5), "Expected `str`, got `int` - at `$.url`"),  # type: ignore[arg-type]
        (Page("u", links={"a": Plain()}), "Encoding objects of type Plain is unsupported"),  # type: ignore[dict-item]
        (Plain(), "Encoding objects of type Plain is unsupported"),
        (None, "Expected `object`, got `null`"),
        (Point(1), "Object missing required field `url`"),
    ],
)
def test_what_is_not_written(document: Any, why: str) -> None:
    """A value that couldn't be read back is refused before it is sent."""
    with pytest.raises(InvalidDocument) as refused:
        DocumentType(Page).stored("k", document)
    assert str(refused.value) == f"the document of key 'k' is no Page: {why}"


def test_a_value_that_contains_itself() -> None:
    """A value without an end is refused as any other that doesn't fit."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidDocument, match="maximum recursion depth"):
        DocumentType(list).stored("k", loop)


@attrs.define
class Hidden:
    """A field of it would be lost."""

    x: int
    _y: int = 0


@dataclass
class Nowhere:
    """An annotation of it leads nowhere."""

    x: Missing  # type: ignore[name-defined]  # noqa: F821


@dataclass
class WithPlain:
    """A field of it can't be converted."""

    plain: list[Plain]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Plain, f"type: found {Plain!r}; expected a dataclass, an attrs class"),
        (WithPlain, f"type: found {Plain!r}; expected a dataclass, an attrs class"),
        ("Page", "type: found 'Page': Type ''Page'' is not supported; expected a dataclass"),
        ([], "type: found []: "),
        (Nowhere, f"type: found {Nowhere!r}: name 'Missing' is not defined; expected a dataclass"),
        (Hidden, "type: found the field '_y' of Hidden, which msgspec leaves out of an attrs class"),
        (Sequence[Hidden], "type: found the field '_y' of Hidden, "),
    ],
)
def test_types_that_are_refused(kind: Any, message: str) -> None:
    """A type whose values can't be converted, or would lose a field, is refused when it is named."""
    for make in (DocumentType, document_type):
        with pytest.raises(InvalidArgument) as refused:
            make(kind)
        assert str(refused.value).startswith(message)


def test_a_type_is_looked_at_once() -> None:
    """The same type leads to the same `DocumentType`."""
    assert document_type(Page) is document_type(Page)


def test_records_and_items() -> None:
    """`read`'s record and `item`'s have the caller's document in place of the stored one; None stays None."""
    kind = DocumentType(Point)
    assert kind.record("k", {"hash_": 0.5, "record": {"x": 1}}) == {"hash_": 0.5, "record": Point(1)}
    found: Item = {
        "key": "k", "hash_": 0.5, "record": {"x": 1}, "version": 1, "expiry": None, "ttl": None, "size": 3,
    }  # fmt: skip
    assert kind.item("k", found) == {**found, "record": Point(1)}
    assert kind.record("k", None) is kind.item("k", None) is None


def test_pairs() -> None:
    """Of many documents one that doesn't fit is marked, with its key's error; what is no pair is left to the bulk."""
    given: list[Any] = [("a", Point(1)), ["b", None], 7, ("c", Point(2))]
    found: list[Any] = list(DocumentType(Point).pairs(given))
    key, refused = found.pop(1)
    assert found == [("a", {"x": 1, "y": 0}), 7, ("c", {"x": 2, "y": 0})]
    assert (key, type(refused)) == ("b", RefusedDocument)
    assert str(refused.error) == "the document of key 'b' is no Point: Expected `object`, got `null`"
    assert list(DocumentType(Point).pairs({"a": Point(1)})) == [("a", {"x": 1, "y": 0})]


def test_popped() -> None:
    """Where what was popped doesn't fit, the error says that it is removed all the same."""
    kind = DocumentType(Point)
    assert kind.popped("k", {"hash_": 0.5, "record": {"x": 1}}) == {"hash_": 0.5, "record": Point(1)}
    assert kind.popped("k", None) is None
    with pytest.raises(InvalidDocument, match=r"the document of key 'k' is no Point: .*; it was removed$"):
        kind.popped("k", {"hash_": 0.5, "record": {}})


def test_a_pair() -> None:
    """A pair of `items` keeps its key, and has the caller's document."""
    assert DocumentType(Point).pair(("k", {"x": 1})) == ("k", Point(1))
