"""What can't be stored is named with its place, and with what to do."""

from __future__ import annotations

import dataclasses
import enum
from collections import OrderedDict, UserDict, UserList, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.document_samples import at_most, texts, trees
from twisted.internet.defer import Deferred

from pyshard.errors import DocumentTooLarge, InvalidDocument
from pyshard.model.document_encoding import encode
from pyshard.model.document_size import measure


class Plain(enum.Enum):
    """An Enum whose members are no str, int or float."""

    X = 1


@dataclasses.dataclass
class Site:
    """A dataclass."""

    url: str


@attrs.frozen
class Page:
    """An attrs class."""

    url: str


class Link(msgspec.Struct):
    """A Struct."""

    url: str


class Text(str):
    """A str of a subclass."""

    __slots__ = ()


HOLDS = "a document holds None, bool, int, float, str, bytes, and lists and dicts of them"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            datetime(2026, 1, 2, tzinfo=UTC),
            "a datetime, which can't be stored; store value.isoformat(), and read it with datetime.fromisoformat()",
        ),
        (date(2026, 1, 2), "a date, which can't be stored; store value.isoformat(), and read it with date.fromiso"),
        (time(1, 2), "a time, which can't be stored; store value.isoformat()"),
        (timedelta(1), "a timedelta, which can't be stored; store value.total_seconds()"),
        (Decimal("1.5"), "a Decimal, which can't be stored; store str(value), and read it with Decimal()"),
        (Fraction(1, 3), "a Fraction, which can't be stored; store str(value)"),
        (UUID(int=1), "a UUID, which can't be stored; store str(value), and read it with UUID()"),
        (Path("a"), "Path, which can't be stored; store str(value), and read it with Path()"),
        ({1}, "a set, which can't be stored; store list(value), and read it with set()"),
        (frozenset({1}), "a frozenset, which can't be stored; store list(value), and read it with frozenset()"),
        (1j, "a complex, which can't be stored; store [value.real, value.imag]"),
        (bytearray(b"x"), "a bytearray, which can't be stored; store bytes(value)"),
        (memoryview(b"x"), "a memoryview, which can't be stored; store bytes(value)"),
        (Plain.X, "a Plain, which can't be stored; store value.value"),
        (Deferred(), "a Deferred, which can't be stored; await it"),
        (Site("a"), "a Site, which can't be stored; store dataclasses.asdict(value), or use index(name, type=…)"),
        (Page("a"), "a Page, which can't be stored; store attrs.asdict(value)"),
        (Link("a"), "a Link, which can't be stored; store msgspec.to_builtins(value)"),
        (UserDict(a=1), "a UserDict, which can't be stored; store dict(value)"),
        (MappingProxyType({}), "a mappingproxy, which can't be stored; store dict(value)"),
        (UserList([1]), "a UserList, which can't be stored; store list(value)"),
        (deque([1]), "a deque, which can't be stored; store list(value)"),
        (range(3), "a range, which can't be stored; store list(value)"),
        ({}.values(), "a dict_values, which can't be stored; store list(value)"),
        ((n for n in "a"), "a generator, which can't be stored; store list(value)"),
        (object(), f"an object, which can't be stored; {HOLDS}"),
        (len, f"a builtin_function_or_method, which can't be stored; {HOLDS}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_to_do(value: object, message: str) -> None:
    """The message names the type and says what to store in its place."""
    for document, place in ((value, "document: "), ({"a": [1, value]}, 'document["a"][1]: ')):
        for refuse in (encode, measure):
            with pytest.raises(InvalidDocument) as refused:
                refuse(document)
            assert message in str(refused.value)
            assert str(refused.value).startswith(place)


def test_numpy() -> None:
    """Arrays and numbers of numpy are known by name, for who has it."""
    numpy = pytest.importorskip("numpy")
    assert encode(numpy.float64(1.5)) == encode(1.5)
    for value, message in ((numpy.zeros(3), "a ndarray"), (numpy.int64(1), "an int64"), (numpy.bool_(1), "a bool")):
        with pytest.raises(InvalidDocument) as refused:
            encode({"a": value})
        assert str(refused.value).startswith(f'document["a"]: {message}')
        assert "store value.tolist()" in str(refused.value) or "store value.item()" in str(refused.value)


class Hostile:
    """A class whose name has everything that a message shouldn't."""


Hostile.__qualname__ = "x\n" * 1000


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({1: 2}, "document: a dict with a key that is an int; keys are str, so store {str(key): one for key, one in"),
        ([{None: 2}], "document[0]: a dict with a key that is a NoneType; keys are str"),
        ({"a": ({b"a": 2},)}, 'document["a"][0]: a dict with a key that is bytes; keys are str'),
        (OrderedDict({(1, 2): 3}), "document: an OrderedDict with a key that is a tuple; keys are str"),
        ({'a"b': {"\n": {1}}}, 'document["a\\"b"]["\\n"]: a set'),
        ({Text("a"): {1}}, 'document["a"]: a set'),
        ({"x" * 1000: {1}}, f'document["{"x" * 37}..."]: a set'),
        ({"\ud800": {1}}, 'document["\\ud800"]: a set'),
        ([Hostile()], "document[0]: a x\\nx\\n"),
        ("\ud800", "document: a str with lone surrogates, which UTF-8 can't carry; store bytes"),
        ({"a": [1, "x\ud800"]}, 'document["a"][1]: a str with lone surrogates, which UTF-8 can\'t carry; store bytes'),
        ({"a": {"\ud800": 1}}, 'document["a"]: the key "\\ud800" with lone surrogates, which UTF-8 can\'t carry'),
        ([2**70, Text("\ud800")], "document[1]: a str with lone surrogates"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_places(document: object, message: str) -> None:
    """The place is what one would write in Python, and the message is one short line."""
    with pytest.raises(InvalidDocument) as refused:
        encode(document)
    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def around() -> list[object]:
    """A list that contains itself."""
    found: list[object] = [1]
    found.append({"a": (found,)})
    return found


def nested(depth: int) -> object:
    """Lists in lists."""
    found: object = None
    for _ in range(depth):
        found = [found]
    return found


def test_a_list_that_contains_itself() -> None:
    """The place at which it comes again is named."""
    with pytest.raises(InvalidDocument) as refused:
        encode({"x": around()})
    assert str(refused.value) == ('document["x"][1]["a"][0]: a list that contains itself; store a copy without that')


def test_nesting() -> None:
    """A long place is cut in its middle."""
    with pytest.raises(InvalidDocument) as refused:
        encode({"a": [1, nested(99)]})
    assert str(refused.value) == (
        'document["a"][1][0][0][0] … [0][0][0][0][0]: a list 101 levels deep; a document nests at most 100 levels'
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": [1, "x" * 101]}, 'document["a"][1]: a str of more than 101 bytes as stored; a document has at most 100'),
        ({"a": b"x" * 101}, 'document["a"]: bytes of more than 101 bytes'),
        ([2**1000], "document[0]: an int of more than 125 bytes"),
        ([Text("x" * 101)], "document[0]: a Text of more than 101 bytes"),
        (["x" * 98], "the document has 101 bytes as stored; a document has at most 100"),
        ("x" * 101, "the document has more than 101 bytes as stored; a document has at most 100"),
        (["x" * 60, "x" * 60], "the document has more than 122 bytes as stored; a document has at most 100"),
        ({10**5000: [1], "a": "x" * 101, "b": []}, "document"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_too_large(document: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is too large alone is named with its place; else it is the document as a whole."""
    at_most(monkeypatch, 100)
    with pytest.raises(InvalidDocument) as refused:
        encode(document)
    assert str(refused.value).startswith(message)


def test_the_place_of_a_large_value_is_found_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of the same lists are looked into once, though they would take for ever if each were."""
    at_most(monkeypatch, 10_000)
    document: list[object] = [1] * 10
    for _ in range(90):
        document = [document] * 10
    with pytest.raises(DocumentTooLarge, match=r"^the document has more than 10,0.. bytes"):
        encode([document, "x" * 9_999])
    with pytest.raises(DocumentTooLarge, match=r"^document\[1\]: a str of more than 10,001 bytes"):
        encode([document, "x" * 10_001])


@given(trees, st.lists(st.integers(0, 3) | texts, max_size=5))
def test_any_place(document: Any, steps: list[object]) -> None:
    """Wherever a set stands, its place leads there."""
    found: object = {1}
    for step in reversed(steps):
        found = [document] * step + [found] if isinstance(step, int) else {step: found, f"{step}x": document}
    with pytest.raises(InvalidDocument) as refused:
        encode(found)
    place = str(refused.value).partition(": a set, which can't be stored")[0]
    if len(str(place)) < 100 and "..." not in place and "\\" not in place:
        assert eval(place, {"document": found}) == {1}
