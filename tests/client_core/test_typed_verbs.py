"""Verbs of an index with a type, on many keys and in updates: what the caller is given, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pyshard.client_core.everyday_verbs import MISSING, DocumentUpdate
from pyshard.client_core.typed_documents import DocumentType
from pyshard.client_core.typed_verbs import TypedKeys, TypedUpdate, typed_outcomes
from pyshard.errors import InvalidArgument, InvalidDocument, PartialFailure, Unavailable


@dataclass
class Point:
    """A document."""

    x: int
    y: int = 0


POINTS = DocumentType(Point)


def test_outcomes() -> None:
    """What doesn't fit among many is the outcome of its own key; the others have their documents."""
    convert: Any = POINTS.given
    assert typed_outcomes(["a", "b"], [{"x": 1}, {"x": 2}], convert) == [Point(1), Point(2)]
    with pytest.raises(PartialFailure) as failed:
        typed_outcomes(["a", "b"], [{"x": 1}, {}], convert)
    assert failed.value.outcomes[0] == ("a", Point(1))
    ((key, error),) = failed.value.failed
    assert (key, type(error)) == ("b", InvalidDocument)


def test_keys_are_taken_as_they_are_needed() -> None:
    """A bulk verb takes keys when it wants them; what it gives is converted for those that it took."""
    given = iter(["a", "b"])
    keys: TypedKeys[Any, Point] = TypedKeys(given, POINTS.given)
    taking = iter(keys)
    assert next(taking) == "a"
    assert list(given) == ["b"]
    assert keys.outcomes([{"x": 1}]) == [Point(1)]


def test_one_key_in_place_of_many() -> None:
    """One str is no collection of keys; that is found when the bulk begins."""
    one: Any = "key"
    with pytest.raises(InvalidArgument, match="keys: found one str"):
        list(TypedKeys(one, POINTS.given))


def test_failures() -> None:
    """A bulk verb's failure keeps its errors, and its other outcomes have the caller's documents."""
    gone = Unavailable("gone")
    keys: TypedKeys[Any, Point] = TypedKeys(["a", "b"], POINTS.given)
    typed = keys.failure(PartialFailure("1 of 2", [("a", gone), ("b", {"x": 1})]))
    assert typed.outcomes == [("a", gone), ("b", Point(1))]


def test_update() -> None:
    """The caller's function and its default are of the type; what is stored is plain, and so is what is written."""
    update = TypedUpdate(POINTS, "k", lambda point: Point(point.x + 1), Point(5))
    assert (update.function({"x": 1, "y": 2}), update.default) == ({"x": 2, "y": 0}, {"x": 5, "y": 0})
    assert (update.result({"x": 2}), update.result(None)) == (Point(2), None)
    assert TypedUpdate(POINTS, "k", lambda point: point, MISSING).default is MISSING
    with pytest.raises(InvalidDocument, match="the document of key 'k' is no Point"):
        update.function({"y": 1})


async def _wait(_: object) -> object:
    return Point(1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda _: None, "the function gave None"),
        (_wait, "something to be awaited"),
    ],
    ids=["None", "a coroutine function"],
)
def test_what_an_update_refuses(function: Any, message: str) -> None:
    """A function that gives None or a coroutine is refused as in an update without a type."""
    update = TypedUpdate(POINTS, "k", function, Point(1))
    with pytest.raises(InvalidArgument, match=message):
        DocumentUpdate(update.function, update.default).write_after(None)


def test_arguments_of_an_update() -> None:
    """What can't be called, and a default that doesn't fit, are refused before anything is read."""
    bad: Any = 5
    with pytest.raises(InvalidArgument, match="function: found 5, expected a function"):
        TypedUpdate(POINTS, "k", bad, MISSING)
    with pytest.raises(InvalidDocument, match="the document of key 'k' is no Point"):
        TypedUpdate(POINTS, "k", lambda point: point, bad)
