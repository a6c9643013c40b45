"""Bytes that wait for the disk, by value."""

from __future__ import annotations

from pyshard.storage.durable.waiting_bytes import WaitingBytes


def test_an_address_has_as_much_as_is_still_free() -> None:
    """So others have as much room as it has taken; what waits no longer takes none."""
    waiting = WaitingBytes(100)
    assert waiting.refusal("a", 1000) is None  # alone
    waiting.add("a", 50)
    refused = waiting.refusal("a", 1)
    assert refused is not None
    assert "changes of 50 bytes wait for this shard's disk already, 50 of them from this address" in str(refused)
    assert waiting.refusal("b", 50) is None
    assert waiting.refusal("b", 51) is not None
    waiting.add("a", -50)
    assert (waiting.total, waiting._of) == (0, {})
    assert waiting.refusal("a", 1) is None
