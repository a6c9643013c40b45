"""What `finish` and `Hello` wait for: changes that are under way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from deferreds import watch
from twisted.internet.defer import Deferred, fail, succeed

from pyshard.server.changes_in_flight import ChangesInFlight


def test_done_waits_for_all_that_is_under_way() -> None:
    """It fires when the last change is done, however that went; with none under way, at once."""
    changes = ChangesInFlight()
    assert changes.done().called
    first, second = Deferred[None](), Deferred[None]()
    changes.add(first)
    changes.add(second).addErrback(lambda _: None)
    done = changes.done()
    first.callback(None)
    assert not done.called
    second.errback(ValueError())
    assert done.called


def test_what_was_done_at_once_is_not_under_way() -> None:
    """Its outcome stays as it is."""
    changes, failed = ChangesInFlight(), ValueError("why")
    outcomes: list[object] = []
    changes.add(succeed("x")).addCallback(outcomes.append)
    changes.add(fail(failed)).addErrback(lambda failure: outcomes.append(failure.value))
    assert outcomes == ["x", failed]
    assert changes.done().called


@pytest.mark.parametrize("paused", [False, True])
def test_what_waits_for_another_is_under_way(paused: bool) -> None:
    """A Deferred that has fired, and whose callback gave one that hasn't, or that is paused, is not done."""
    changes, inner = ChangesInFlight(), Deferred[str]()
    change = succeed("x")
    if paused:
        change.pause()
    else:
        change.addCallback(lambda _: inner)
    changes.add(change)
    done = changes.done()
    assert not done.called
    if paused:
        change.unpause()
    else:
        inner.callback("y")
    assert done.called


def test_a_chain_of_connections() -> None:
    """A thousand connections, each of which waits for the one before it, end one after the other, without a limit."""
    first, order = Deferred[None](), list[int]()

    def note(_: None, number: int) -> None:
        order.append(number)

    connections = [ChangesInFlight() for _ in range(1000)]
    connections[0].add(first)
    for number, (one, following) in enumerate(pairwise(connections)):
        following.add(one.done()).addCallback(note, number)
    first.callback(None)
    assert order == list(range(999))
    assert watch(connections[-1].done()) == [None]
