"""Turns at a store: one thing after the other, each to its end."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import StorageFailed
from pyshard.replication.store_turns import StoreTurns


def test_one_after_the_other() -> None:
    """The second begins when the first has ended."""
    turns, began = StoreTurns(), []
    first: Deferred[str] = Deferred()

    def begin(name: str, work: Deferred[str]) -> Deferred[str]:
        began.append(name)
        return work

    one = turns.run(lambda: begin("first", first))
    two = turns.run(lambda: begin("second", succeed("b")))
    assert began == ["first"]
    first.callback("a")
    assert (began, one.result, two.result) == (["first", "second"], "a", "b")


def test_cancelled() -> None:
    """What has begun goes on to its end, and the next waits for that; what hasn't begun never does."""
    turns, began = StoreTurns(), []
    first: Deferred[None] = Deferred()
    one = turns.run(lambda: first)
    two = turns.run(lambda: began.append("second") or succeed(None))  # type: ignore[func-returns-value]
    three = turns.run(lambda: began.append("third") or succeed(None))  # type: ignore[func-returns-value]
    errors: list[object] = []
    for each in (one, two):
        each.addErrback(errors.append)
        each.cancel()
    assert (len(errors), first.called, began) == (2, False, [])
    first.callback(None)
    assert began == ["third"]
    assert three.called


def test_failures() -> None:
    """A failure is given to who asked, and the next one has its turn."""
    turns = StoreTurns()
    errors: list[object] = []
    turns.run(lambda: fail(StorageFailed("full"))).addErrback(lambda failure: errors.append(failure.type))

    def broken() -> Deferred[None]:
        raise StorageFailed("full")

    turns.run(broken).addErrback(lambda failure: errors.append(failure.type))
    assert errors == [StorageFailed, StorageFailed]
    assert turns.run(lambda: succeed(3)).result == 3
