"""AMP's boxes ⇄ bytes, with limits. Pure.

A box is pairs of a key (1 to 255 bytes) and a value (up to 65,535 bytes), each with its length in two bytes before it
(big-endian), and ends with two zero bytes. Twisted's own parser calls Python functions for each string and knows no
limits; this one loops over what has arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeAlias

import attrs

from pyshard.settings import settings

Box: TypeAlias = dict[bytes, bytes]

#: Bytes of the longest value.
LONGEST_VALUE = 65_535
_LONGEST_KEY = 255
_TLS = (0x1503, 0x1603)  # how an alert and a handshake of TLS begin
_PREFIXES = [length.to_bytes(2, "big") for length in range(_LONGEST_KEY + 1)]


class BoxBreach(Exception):
    """The bytes are no box, or one past its limits; what comes after them can't be understood."""


class TlsFound(BoxBreach):
    """The peer's first bytes are TLS, which this connection isn't."""


@attrs.frozen
class Limits:
    """What one box may be.

    :param keys: how many keys.
    :param size: bytes, keys and values and their lengths.
    :param unfinished: seconds in which a box that was begun must end.
    """

    keys: int = settings.MAX_BOX_KEYS
    size: int = settings.MAX_BOX_BYTES
    unfinished: float = settings.UNFINISHED_BOX


class BoxParser:
    """Gives boxes out of bytes that arrive in any pieces.

    :param limits: for each box.
    :ivar boxes: how many boxes it has given.
    :ivar size: bytes of the last one, keys and values and their lengths.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.boxes = 0
        self.size = 0
        self._data = b""
        self._at = 0
        self._pieces: list[bytes] = []  # what came behind `_data`
        self._wanting = 0  # bytes that must come before there is anything to be done with them
        self._box: Box = {}
        self._keys = 0
        self._size = 2  # the bytes that end the box

    @property
    def begun(self) -> bool:
        """Whether there is more than whole boxes."""
        return self._at < len(self._data) or bool(self._box)

    @property
    def held(self) -> int:
        """How many bytes it holds of a box that was begun, about."""
        return self._size + len(self._data) + sum(map(len, self._pieces))

    def feed(self, data: bytes) -> None:
        """Take further bytes."""
        if self._at == len(self._data):
            self._data, self._at, self._wanting = data, 0, 0
            return
        self._pieces.append(data)
        self._wanting -= len(data)
        if self._wanting <= 0:  # whoever sends byte by byte must not have each of them cost a copy of all before it
            self._data = b"".join([self._data[self._at :], *self._pieces])
            self._at = 0
            self._pieces = []

    def next_box(self) -> Box | None:
        """The next whole box; None when there is none yet.

        :raises BoxBreach: there will be none.
        """
        if self._pieces:
            return None
        data, at, box = self._data, self._at, self._box
        end, keys, size = len(data), self._keys, self._size
        most_keys, most_bytes = self.limits.keys, self.limits.size
        wanted = at + 2
        while wanted <= end:
            length = data[at + 1]
            if data[at]:
                self._no_key(data[at] << 8 | length)
            value = at + 2 + length
            if not length:
                self._at = value
                self._box = {}
                self.size = size
                self._keys, self._size = 0, 2
                self.boxes += 1
                return box
            wanted = value + 2
            if wanted > end:
                break
            behind = wanted + (data[value] << 8 | data[value + 1])
            if keys >= most_keys or size + behind - at > most_bytes:  # before all of it came
                raise BoxBreach(f"a box past {most_keys:,} keys or {most_bytes:,} bytes")
            if behind > end:
                wanted = behind
                break
            box[data[at + 2 : value]] = data[wanted:behind]
            keys += 1  # one key may come many times
            size += behind - at
            at = behind
            wanted = at + 2
        self._at, self._keys, self._size = at, keys, size
        self._wanting = wanted - end
        if at == end:  # keep nothing that was read
            self._data, self._at = b"", 0
        return None

    def _no_key(self, length: int) -> NoReturn:
        if not self.boxes and length in _TLS:
            raise TlsFound("it speaks TLS here, and this side doesn't")
        raise BoxBreach(f"a key of {length:,} bytes; AMP's keys have at most {_LONGEST_KEY}")


def serialize(box: Mapping[bytes, bytes]) -> bytes:
    """The bytes of a box, whose keys and values aren't too long."""
    parts: list[bytes] = []
    for key, value in box.items():
        length = len(value)
        parts += (_PREFIXES[len(key)], key, _PREFIXES[length] if length < 256 else length.to_bytes(2, "big"), value)
    parts.append(b"\0\0")
    return b"".join(parts)
