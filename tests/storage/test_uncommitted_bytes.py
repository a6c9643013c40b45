"""Bytes of changes that aren't committed, by value."""

from __future__ import annotations

import pytest

from pyshard.errors import Overloaded
from pyshard.storage.uncommitted_bytes import UncommittedBytes


def test_an_address_has_as_much_as_is_still_free() -> None:
    """So others have as much room as it has taken; a change that is larger than all may come alone."""
    waiting = UncommittedBytes(100)
    assert waiting.refusal("a", 1000) is None
    waiting.begin("a", 50)
    refused = waiting.refusal("a", 1)
    assert "changes of 50 bytes wait for this shard's replicas already, 50 of them from this address" in str(refused)
    assert (waiting.refusal("b", 50), type(waiting.refusal("b", 51))) == (None, Overloaded)
    waiting.end("a", 50)
    assert (waiting.total, waiting._of) == (0, {})


def test_until_it_is_committed() -> None:
    """A change counts for its address until then, with what it was found to take."""
    waiting = UncommittedBytes(100)
    for sequence, address, size in ((1, "a", 10), (1, "b", 5), (2, "a", 20), (3, "a", 5)):
        waiting.begin(address, 2)
        waiting.end(address, 2)
        waiting.made(sequence, address, size)
    assert (waiting.total, waiting._of) == (40, {"a": 35, "b": 5})
    waiting.committed(1)
    assert (waiting.total, waiting._of) == (25, {"a": 25})
    waiting.committed(3)
    waiting.made(3, "c", 50)  # which is told only now
    assert (waiting.total, waiting._of) == (0, {})


def test_groups() -> None:
    """What they take counts where it is more than all changes: some are nobody's."""
    waiting = UncommittedBytes(100)
    waiting.add_group(1, 30)
    waiting.made(1, "a", 10)
    waiting.add_group(2, 10)
    assert (waiting.total, waiting._of, waiting.is_crowded) == (40, {"a": 10}, False)
    assert (waiting.refusal("b", 60), type(waiting.refusal("a", 51))) == (None, Overloaded)
    waiting.check_own_work()
    waiting.begin("b", 10)
    with pytest.raises(Overloaded, match="changes of 50 bytes"):
        waiting.check_own_work()
    waiting.committed(1)
    assert (waiting.total, waiting._of) == (20, {"b": 10})
    waiting.committed(2)
    assert waiting.total == 10


def test_what_took_more_than_was_known() -> None:
    """The writer looks at what is made already, with the group that it is making."""
    waiting = UncommittedBytes(100)
    waiting.begin("a", 1000)
    waiting.add_group(1, 60)
    assert (waiting.refusal_now(39), type(waiting.refusal_now(40))) == (None, Overloaded)
    waiting.committed(1)
    assert waiting.refusal_now(99) is None


def test_who_leads_no_more() -> None:
    """What was made is forgotten; what is begun counts until it is over, and numbers may begin anew."""
    waiting = UncommittedBytes(100)
    waiting.begin("a", 7)
    waiting.add_group(8, 30)
    waiting.made(8, "a", 30)
    waiting.committed(7)
    waiting.begin_anew()
    assert (waiting.total, waiting._of) == (7, {"a": 7})
    waiting.end("a", 7)
    waiting.add_group(3, 30)
    waiting.made(3, "b", 30)
    assert (waiting.total, waiting._of) == (30, {"b": 30})
    waiting.committed(3)
    assert (waiting.total, waiting._of) == (0, {})
