"""A document's size: the original pyshard's measure, and the quick ways to it."""

from __future__ import annotations

import platform
import sys
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from model.document_samples import flat_dicts, scalars, trees

from pyshard.errors import InvalidDocument
from pyshard.model.document_encoding import Document, encode, size_in
from pyshard.model.document_size import flat_size, measure, values_size, wide_size


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, 16),
        (False, 24),
        (True, 28),
        (1.1, 24),
        (float("nan"), 24),
        (0, 24),
        (1, 28),
        (-1, 28),
        (2**30 - 1, 28),
        (2**30, 32),
        (-(2**30), 32),
        (2**60 - 1, 32),
        (2**60, 36),
        (2**64, 36),
        (-(2**90) + 1, 36),
        (2**90, 40),
        (10**100, 72),
        ("", 49),
        ("hello world", 60),
        ("\x7f", 50),
        ("\x80", 74),
        ("é", 74),
        ("naïve", 78),
        ("\xff" * 10, 83),
        ("\u0100", 76),
        ("мир", 80),
        ("a\uffff", 78),
        ("\U00010000", 80),
        ("hi \U0001f600", 92),
        (b"", 33),
        (b"hello", 38),
        ([], 0),
        ({}, 0),
        ((), 0),
        ({"hello": "world"}, 54),
        ({"a key of any length": 1}, 28),
        ([1, 1], 56),
        ((1, 1), 56),
        ([None, True, "a", b"a", 1.0], 152),
        ({"a": [1, {"b": None}], "c": {}}, 44),
    ],
)
def test_measure(document: object, expected: int) -> None:
    """A scalar counts what CPython 3.6 to 3.11 said, a dict or list the sum over its values."""
    assert measure(document) == expected


@given(trees)
def test_size_is_the_measure(document: Document) -> None:
    """The size that `encode` gives is the measure, and the record carries it in its head."""
    record, size = encode(document)
    assert size == measure(document) == size_in(record) == size_in(record[:5])


@pytest.mark.skipif(
    platform.python_implementation() != "CPython" or sys.version_info >= (3, 12) or sys.maxsize != 2**63 - 1,
    reason="the measure is what CPython up to 3.11 said on 64 bits; this Python's own sizes differ",
)
@given(scalars)
def test_measure_is_getsizeof(scalar: Any) -> None:
    """For a scalar, the measure is what sys.getsizeof says of a fresh object on CPython up to 3.11."""
    # 0 and False: the measure keeps the 24 of CPython up to 3.10, where later ones count a digit that isn't used.
    assume(not isinstance(scalar, int) or scalar != 0)
    if isinstance(scalar, str):
        # CPython keeps one object for each of these characters, which may carry its UTF-8 with it: never fresh.
        assume(len(scalar) != 1 or scalar.isascii() or scalar > "\xff")
        scalar = "".join(list(scalar))
    assert measure(scalar) == sys.getsizeof(scalar)


def measured(document: object) -> object:
    """The measure of a document, or the text of its refusal."""
    try:
        return measure(document)
    except InvalidDocument as error:
        return str(error)


@given(flat_dicts)
@example({"a": 2**30 - 1, "b": -(2**30) + 1, "c": 0})
def test_the_quick_way_agrees_with_the_walk(document: dict[object, object]) -> None:
    """The size of a flat dict is what the walk through it finds."""
    for size in (flat_size(document), values_size(document) if set(map(type, document)) <= {str} else None):  # type: ignore[arg-type]  # then they are
        assert size is None or size == measured(document)


def test_what_the_quick_way_is_for() -> None:
    """It measures strs, small ints, floats, bools and None, and leaves any other value to the walk."""
    assert flat_size({"a": "ü", "b": 0, "c": 1.5, "d": True, "e": None, "f": 2**30 - 1}) == 74 + 24 + 24 + 28 + 16 + 28
    others: list[dict[object, object]] = [{"a": 2**30}, {"a": -(2**30)}, {"a": []}, {"a": {}}, {"a": b""}, {1: 1}]
    assert [flat_size(other) for other in others] == [None] * 6


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not text.isascii()))
def test_size_of_wide_texts(text: str) -> None:
    """A str counts 1, 2 or 4 bytes a character, as its widest one needs."""
    width, head = max(
        (1, 73) if ord(character) < 0x100 else (2, 74) if ord(character) < 0x10000 else (4, 76) for character in text
    )
    assert wide_size(text) == head + width * len(text)
