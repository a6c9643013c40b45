"""What can stand as an argument of a verb; what is refused is tried with each verb, in tests/client/test_verbs.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import IntEnum
from typing import Any

import pytest

from pyshard.client_core.argument_checks import (
    check_collection,
    check_progress,
    condition_of,
    deadline_seconds,
    milliseconds,
    whole_number,
)
from pyshard.errors import InvalidArgument, shown_value


class Number(IntEnum):
    """Ints of a subclass."""

    SEVEN = 7


class Fraction(float):
    """A subclass of float."""


def test_numbers_of_subclasses() -> None:
    """An int or float of a subclass counts as what it is equal to, and goes on as a plain one."""
    found: list[float] = [
        deadline_seconds(Number.SEVEN),
        deadline_seconds(Fraction(0.5)),
        condition_of(False, Number.SEVEN),
        whole_number("by", Number.SEVEN),
        milliseconds(Number.SEVEN),
        milliseconds(Fraction(0.5)),
    ]
    assert found == [7, 0.5, 7, 7, 7000, 500]
    assert set(map(type, found)) == {int, float}


@pytest.mark.parametrize("longest", [100 * 366 * 86_400, 100 * 366 * 86_400.0])
def test_the_longest_deadline(longest: float) -> None:
    """A deadline has at most a hundred years, as a time to live."""
    assert deadline_seconds(longest) == longest
    assert milliseconds(longest) == longest * 1000
    for check in (deadline_seconds, milliseconds):
        with pytest.raises(InvalidArgument, match="more than 0 and at most 100 years"):
            check(longest + 1)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 1j], ids=shown_value)
def test_what_is_no_int(value: Any) -> None:
    """The argument is named, with what was found."""
    with pytest.raises(InvalidArgument) as refused:
        whole_number("initial", value)
    assert str(refused.value) == f"initial: found {shown_value(value)}, expected an int"


def test_huge_versions() -> None:
    """A version of thousands of digits is refused as any other, without writing them out."""
    with pytest.raises(InvalidArgument) as refused:
        condition_of(False, 10**5000)
    assert str(refused.value) == (
        "if_version: found <int of about 5,001 digits>, expected a version as item() gives it"
    )


@pytest.mark.parametrize(
    "given", [[], (), {}, set(), {}.items(), iter(()), range(3)], ids=lambda one: type(one).__name__
)
def test_collections(given: object) -> None:
    """Whatever can be iterated over may be a collection of keys, a dict too."""
    check_collection("keys", given, "keys")


class Numbered:
    """What can be iterated over by numbers alone, as in the oldest programs."""

    def __getitem__(self, place: int) -> str:
        return ["a", "b"][place]


def test_sequences_of_the_old_kind() -> None:
    """An object with ``__getitem__`` alone may be one, too."""
    check_collection("keys", Numbered(), "keys")


def test_asynchronous_collections() -> None:
    """One that needs ``async for`` is refused, with what to do."""

    async def keys() -> AsyncIterator[str]:
        yield "a"

    with pytest.raises(InvalidArgument, match=r"expected a collection of keys; collect it first: \[one async for"):
        check_collection("keys", keys(), "keys")


def test_progress() -> None:
    """``progress`` is None, or can be called."""
    check_progress(None)
    check_progress(print)
    with pytest.raises(InvalidArgument, match=r"^progress: found 'print', expected a function"):
        check_progress("print")
