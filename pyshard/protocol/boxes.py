"""AMP's boxes ⇄ bytes, with limits on what a peer may send. It does no I/O.

A box is pairs of a key (1 to 255 bytes) and a value (up to 65,535 bytes). Each has its length before it, in two bytes,
big-endian. Two zero bytes end the box.

Rules:

- a box over its limits is refused as soon as a length says so, before its bytes have come;
- bytes that come one by one cost no more than those that come together, neither work (tests/test_work.py) nor memory;
- nothing is kept of a box that was given out. Without compiled code the outline of some is kept (`BoxOutline`), so that
  the next one of its kind is read sooner;
- whatever the pieces, the boxes are those that `parse_plainly` finds in all bytes together;
- in a box of more than 65,535 bytes an argument that came in several chunks stands in one (`joined_chunks`). They have
  to be joined anyhow, and so they are copied once.

Twisted's own parser has no limits, and calls Python functions for each string. This one is a loop over what has come.
Twisted's module also imports all of TLS, which a client without it has no use for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NoReturn, TypeAlias

import attrs

from pyshard.compiled import IN_USE, box_leaves
from pyshard.protocol.joined_chunks import join_chunks
from pyshard.settings import settings

Box: TypeAlias = dict[bytes, bytes]

#: The keys to which AMP gives a meaning: a question has a name and a tag; its answer, or its error, has the tag.
COMMAND, ASK, ANSWER, ERROR = b"_command", b"_ask", b"_answer", b"_error"
ERROR_CODE, ERROR_DESCRIPTION = b"_error_code", b"_error_description"

#: AMP's own code, for a command that the peer doesn't have.
UNHANDLED_CODE = b"UNHANDLED"

#: Bytes of the longest value.
LONGEST_VALUE = 65_535
_LONGEST_KEY = 255
_TLS = (0x1503, 0x1603)  # the first bytes of an alert and of a handshake of TLS
_FEW = 32  # pieces that are kept as they came; each takes some 50 bytes more than it has
_PREFIXES = [length.to_bytes(2, "big") for length in range(_LONGEST_KEY + 1)]
_END = b"\0\0"
_OUTLINED = (4, 5)  # pairs of a box whose outline is kept: the answer to an `Apply`, and the `Apply`
_OUTLINE = 256  # bytes of the longest outline


class BoxBreach(Exception):
    """The bytes are no box, or one over its limits. What comes after them can't be understood."""


class TlsFound(BoxBreach):
    """The peer's first bytes are TLS, on a connection without it."""


@attrs.frozen
class Limits:
    """How large one box may be, and how slow.

    :param keys: how many keys it may have.
    :param size: how many bytes it may have: keys, values and their lengths.
    :param unfinished: seconds within which a box that was begun must end.
    :param boxes: how many boxes may come, with those before this limit was set; None: any number.
    """

    keys: int = settings.MAX_BOX_KEYS
    size: int = settings.MAX_BOX_BYTES
    unfinished: float = settings.UNFINISHED_BOX
    boxes: int | None = None


#: The limits while only small answers are awaited (`pyshard.protocol.commands.SMALL_ANSWERS`).
SMALL = Limits(size=512 * 1024)


class BoxOutline:
    """What a box has in common with the next one of its kind: all but the values of its third pair and of its last.

    It is at most `_OUTLINE` bytes.

    A peer that asks one thing after the other sends boxes that differ in what they carry and in their tag alone. Each
    comes whole and by itself. Such a box is known by comparing the bytes that don't change, in a few calls in C.

    :param box: of at least four pairs.
    :ivar size: bytes that don't change.
    """

    __slots__ = ("_carried", "_head", "_least", "_middle", "_pairs", "_tag", "size")

    def __init__(self, box: Box) -> None:
        keys = list(box)
        self._carried, self._tag = keys[2], keys[-1]
        self._pairs = {**box, self._carried: b"", self._tag: b""}
        self._head = _pairs(box, keys[:2]) + prefixed(self._carried)
        self._middle = _pairs(box, keys[3:-1]) + prefixed(self._tag)
        self.size = len(self._head) + len(self._middle)
        self._least = self.size + 6  # with the lengths of both values, and the end

    def box_in(self, data: bytes) -> Box | None:
        """The box that some bytes are, if they are a single whole one with this outline."""
        head, middle, size = self._head, self._middle, len(data)
        if size < self._least or not data.startswith(head):
            return None
        carried = len(head) + 2
        behind = carried + (data[carried - 2] << 8 | data[carried - 1])
        tag = behind + len(middle) + 2
        if tag + 2 > size or tag + (data[tag - 2] << 8 | data[tag - 1]) + 2 != size:
            return None
        if not data.startswith(middle, behind) or not data.endswith(_END):
            return None
        box = self._pairs.copy()
        box[self._carried] = data[carried:behind]
        box[self._tag] = data[tag:-2]
        return box


class BoxParser:
    """Boxes out of bytes that come in any pieces: `feed` takes the bytes, `next_box` gives the boxes.

    :param limits: those of each box.
    :ivar boxes: how many boxes it has given.
    :ivar size: how many bytes the last one had: keys, values and their lengths.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.boxes = 0
        self.size = 0
        self._data = b""
        self._at = 0
        self._tail = bytearray()  # what came after `_data`
        self._pieces: list[bytes] = []  # what came after that, in at most `_FEW` pieces
        self._waiting = 0  # bytes of both
        self._missing = 0  # bytes that must come after `_data`, all of which was looked at, to go on
        self._box: Box = {}
        self._keys = 0
        self._size = 2  # with those that will end the box
        self._outline: BoxOutline | None = None

    @property
    def begun(self) -> bool:
        """Whether a box was begun, and hasn't ended."""
        return self._at < len(self._data) or self._waiting > 0 or bool(self._box)

    @property
    def held(self) -> int:
        """About how many bytes of a begun box it holds."""
        return self._size + len(self._data) + self._waiting

    @property
    def unserved(self) -> int:
        """About how many bytes have come that aren't in a box that was given out."""
        return self.held - self._at

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._at == len(self._data) and not self._waiting:
            self._data, self._at, self._missing = data, 0, 0
        elif data:
            self._pieces.append(data)
            self._waiting += len(data)
            if len(self._pieces) > _FEW:
                self._tail += b"".join(self._pieces)
                self._pieces.clear()

    def only_box(self, data: bytes) -> Box | None:
        """The box that the next bytes are, if that is known at once; None: `feed` them."""
        return None if self.begun else self._known_box(data)

    def next_box(self) -> Box | None:
        """The next whole box; None while it hasn't all come.

        :raises BoxBreach: the bytes are no box, or one over its limits.
        """
        if self._waiting < self._missing:
            return None
        data, at, box = self._data, self._at, self._box
        if not at and data and not box and not self._waiting and (known := self._known_box(data)) is not None:
            self._data, self._missing = b"", 0
            return known
        end, keys, size = len(data), self._keys, self._size
        most_keys, most_bytes = self.limits.keys, self.limits.size
        wanted = at + 2
        while True:
            if wanted > end:
                if not self._waiting or self._waiting < wanted - end:
                    break
                # Only now: else each byte of a slow peer would cost a copy of all before it.
                data = b"".join([data[at:], self._tail, *self._pieces])
                self._data, self._tail, self._pieces, self._waiting = data, bytearray(), [], 0
                at, end = 0, len(data)
                wanted = 2
            length = data[at + 1]
            if data[at]:
                self._no_key(data[at] << 8 | length)
            value = at + 2 + length
            if not length:
                self._data, self._at = (data, value) if value < end else (b"", 0)
                self._box = {}
                self.size = size
                self._keys, self._size = 0, 2
                self._missing = 0
                self.boxes += 1
                if size > LONGEST_VALUE:
                    join_chunks(box)
                if self.limits.boxes is not None and self.boxes > self.limits.boxes:
                    raise BoxBreach(f"more than {self.limits.boxes:,} boxes")
                if not IN_USE and size == end and keys == len(box) and keys in _OUTLINED:
                    self._note_outline(box)
                return box
            wanted = value + 2
            if wanted > end:
                continue
            behind = wanted + (data[value] << 8 | data[value + 1])
            if keys >= most_keys or size + behind - at > most_bytes:
                raise BoxBreach(f"a box past {most_keys:,} keys or {most_bytes:,} bytes")
            if behind > end and (self._tail or self._waiting < behind - end):
                wanted = behind
                continue
            key = data[at + 2 : value]
            keys += 1  # each pair counts, though one key may come many times
            size += behind - at
            if behind > end:
                box[key] = self._value_across(memoryview(data)[wanted:], behind - end)
                data, at = self._data, self._at
                end = len(data)
            else:
                box[key] = data[wanted:behind]
                at = behind
            wanted = at + 2
        # What was looked at isn't kept while the rest comes. This copies less than one pair, once for each that came.
        self._data, self._at, self._keys, self._size = data[at:], 0, keys, size
        self._missing = wanted - end
        return None

    def _value_across(self, begun: memoryview, missing: int) -> bytes:
        """The value that ends in the pieces that wait. What is behind it in the last of them is read next.

        So a long value is copied once, out of the pieces in which it came.

        :param begun: what came of it before.
        :param missing: bytes that it lacks.
        """
        parts: list[bytes | memoryview] = [begun]
        pieces, number = self._pieces, 0
        while len(pieces[number]) < missing:
            parts.append(pieces[number])
            missing -= len(pieces[number])
            number += 1
        last = pieces[number]
        parts.append(memoryview(last)[:missing])
        self._waiting -= sum(map(len, pieces[: number + 1]))
        del pieces[: number + 1]
        self._data, self._at = last, missing
        return b"".join(parts)

    def _known_box(self, data: bytes) -> Box | None:
        """The box that bytes are, if they are a whole one within the limits; None: they are to be parsed."""
        limits = self.limits
        if limits.boxes is not None:
            return None
        box = box_leaves.whole_box(data, limits.keys, limits.size) if IN_USE else self._outlined_box(data)
        if box is not None:
            self.size = len(data)
            self.boxes += 1
        return box

    def _outlined_box(self, data: bytes) -> Box | None:
        """The box that bytes are, if it has the outline and is within the limits."""
        outline, limits = self._outline, self.limits
        if outline is None or len(data) > limits.size or limits.keys < _OUTLINED[-1]:
            return None
        return outline.box_in(data)

    def _note_outline(self, box: Box) -> None:
        """Expect boxes like this one, which was all that had come."""
        outline = BoxOutline(box)
        self._outline = outline if outline.size <= _OUTLINE else None

    def _no_key(self, length: int) -> NoReturn:
        if not self.boxes and length in _TLS:
            raise TlsFound("it speaks TLS here, and this side doesn't")
        raise BoxBreach(f"a key of {length:,} bytes; AMP's keys have at most {_LONGEST_KEY}")


def parse_plainly(data: bytes, limits: Limits) -> Iterator[Box]:
    """The whole boxes at the beginning of some bytes, as a `BoxParser` gives them.

    :raises BoxBreach: as `BoxParser.next_box`.
    """
    box, keys, size, at, boxes = Box(), 0, 2, 0, 0
    while at + 2 <= len(data):
        key_length = int.from_bytes(data[at : at + 2], "big")
        if key_length > _LONGEST_KEY:
            raise BoxBreach(f"a key of {key_length:,} bytes; AMP's keys have at most {_LONGEST_KEY}")
        if key_length == 0:
            boxes += 1
            if limits.boxes is not None and boxes > limits.boxes:
                raise BoxBreach(f"more than {limits.boxes:,} boxes")
            if size > LONGEST_VALUE:
                join_chunks(box)
            yield box
            box, keys, size, at = Box(), 0, 2, at + 2
            continue
        key_end = at + 2 + key_length
        if key_end + 2 > len(data):
            return
        value_end = key_end + 2 + int.from_bytes(data[key_end : key_end + 2], "big")
        keys, size = keys + 1, size + value_end - at
        if keys > limits.keys or size > limits.size:
            raise BoxBreach(f"a box past {limits.keys:,} keys or {limits.size:,} bytes")
        if value_end > len(data):
            return
        box[data[at + 2 : key_end]] = data[key_end + 2 : value_end]
        at = value_end


def serialize(box: Mapping[bytes, bytes]) -> bytes:
    """The bytes of a box whose keys and values aren't too long."""
    parts: list[bytes] = []
    for key, value in box.items():
        length = len(value)
        parts += (_PREFIXES[len(key)], key, _PREFIXES[length] if length < 256 else length.to_bytes(2, "big"), value)
    parts.append(_END)
    return b"".join(parts)


def serialize_beginning(box: Mapping[bytes, bytes]) -> bytes:
    """The bytes of a box without its end: more pairs are to come behind them."""
    return serialize(box)[: -len(_END)]


def prefixed(text: bytes) -> bytes:
    """A key or value with its length before it, as it stands in a box."""
    return len(text).to_bytes(2, "big") + text


def _pairs(box: Box, keys: list[bytes]) -> bytes:
    """The bytes of some pairs of a box."""
    return serialize_beginning({key: box[key] for key in keys})
