"""What the first bytes of a MessagePack value announce, without decoding it. Pure."""

from __future__ import annotations

import msgspec


def array_length(value: bytes | msgspec.Raw) -> int | None:
    """How many elements an array announces; None: it is no array."""
    if type(value) is bytes and value and 0x90 <= value[0] <= 0x9F:  # as is mostly so: a batch of few runs
        return value[0] & 0x0F
    return _length(value, 0x90, 0xDC)


def map_length(value: bytes | msgspec.Raw) -> int | None:
    """How many pairs a map announces; None: it is no map."""
    return _length(value, 0x80, 0xDE)


def _length(value: bytes | msgspec.Raw, short: int, long: int) -> int | None:
    """The length in the head of an array or map.

    :param short: its first byte, without the length in it.
    :param long: its first byte where the length comes in two bytes behind it; in four, that byte is one higher.
    """
    head = bytes(memoryview(value)[:5])
    if not head:
        return None
    if head[0] == long:
        return int.from_bytes(head[1:3], "big")
    if head[0] == long + 1:
        return int.from_bytes(head[1:], "big")
    return head[0] & 0x0F if head[0] & 0xF0 == short else None
