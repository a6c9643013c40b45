"""Reads a long record from the disk before it is copied: in a few large pieces, and while other threads go on."""

from __future__ import annotations

from pyshard.compiled import IN_USE, cursor_leaves


def read_ahead(record: bytes | memoryview) -> None:
    """Wait until a record is in memory; a short one is."""
    if IN_USE and isinstance(record, memoryview):
        cursor_leaves.read_ahead(record)
