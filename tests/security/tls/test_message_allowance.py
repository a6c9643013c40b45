"""How much of TLS's own talk is taken beside data."""

from __future__ import annotations

import pytest

from pyshard.security.tls.message_allowance import too_many_bytes, too_many_messages, too_many_records


@pytest.mark.parametrize(
    ("messages", "data", "found"),
    [(200, 0, False), (201, 0, True), (201, 16_383, True), (201, 16_384, False), (1200, 1000 * 16_384, False)],
)
def test_messages(messages: int, data: int, found: bool) -> None:
    """A handshake has its messages; each 16 KiB of data earn one more."""
    assert too_many_messages(messages, data) is found


@pytest.mark.parametrize(
    ("wire", "data", "found"),
    [(16 * 1024, 0, False), (16 * 1024 + 1, 0, True), (26 * 1000, 4 * 1000, False), (23 * 10_000, 10_000, True)],
)
def test_bytes(wire: int, data: int, found: bool) -> None:
    """Records of four bytes are no reason to end a connection, those of one byte without end are."""
    assert too_many_bytes(wire, data) is found


@pytest.mark.parametrize(
    ("records", "data", "found"),
    [(1092, 1092, False), (1093, 1093, True), (1093, 10_000, False), (10_000, 40_000, False), (10_000, 20_000, True)],
)
def test_records(records: int, data: int, found: bool) -> None:
    """The same where the bytes on the wire aren't known, but the records are."""
    assert too_many_records(records, data) is found
