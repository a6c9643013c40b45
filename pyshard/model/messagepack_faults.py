"""What no document holds, found in MessagePack before it is decoded. Pure.

Another client may have written anything. A map is decoded into a dict, which hashes its keys. The hash of a str is
different in each process, that of an int isn't: with keys of one hash, chosen by who wrote them, each one would be
compared with all others. So a map with any other key than a str is refused before a dict is made of it.

Rules:

- one pass, from the first byte to the last. It takes no memory but for the lists and dicts around a place;
- it looks at heads. What is cut short, too long or no MessagePack has no fault here: decoding says so;
- the place of a fault is what one would write in Python: ``document["a"][3]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from pyshard.compiled import IN_USE, messagepack_leaves
from pyshard.errors import shown_value
from pyshard.model.document_faults import shown_path
from pyshard.settings import settings

#: The extension type of ints past 64 bits: two's complement, big-endian.
BIG_INT = 1
_TIMESTAMP = -1

#: Where a fault is: the steps to it from the outermost list or dict, its offset, and whether it is a key.
#: A step is the number of an item in its list; in a dict it is the key's offset, as -1 - offset.
FaultPlace: TypeAlias = tuple[list[int], int, bool]

# By the first byte: the bytes behind it, of what has a fixed length and holds nothing; -1: it is something else.
_FIXED: list[int] = [0] * 0x80 + [-1] * 0x20 + [*range(0x20)] + [-1] * 0x20 + [0] * 0x20
for _first, _behind in zip(
    (0xC0, 0xC2, 0xC3, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2, 0xD3),
    (0, 0, 0, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8),
    strict=True,
):
    _FIXED[_first] = _behind
_NEVER_USED = 0xC1

# First byte → bytes of the length that stands behind it.
_LONG = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD4: 0, 0xD5: 0, 0xD6: 0, 0xD7: 0, 0xD8: 0}
_CONTAINERS = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_TEXTS = frozenset([*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB])


def extension(code: int, data: memoryview) -> object:
    """The value of an extension of MessagePack."""
    return int.from_bytes(data, "big", signed=True) if code == BIG_INT else msgspec.msgpack.Ext(code, bytes(data))


_decode = msgspec.msgpack.Decoder(ext_hook=extension).decode


def fault_in(body: bytes | memoryview) -> str | None:
    """The first thing in MessagePack that no document holds, with its place; None: there is none.

    :raises Exception: msgspec's: the key at fault is damaged.
    """
    find = messagepack_leaves.place_of_fault if IN_USE else place_of_fault_plainly
    place = find(body, BIG_INT, settings.MAX_NESTING)
    if place is None:
        return None
    steps, at, is_key = place
    path = shown_path([step if step >= 0 else _value(body, -1 - step) for step in steps])
    return f"{path}: {_foreign_key(body, at) if is_key else _foreign_value(body, at, len(steps))}"


def place_of_fault_plainly(body: bytes | memoryview, big_int: int, most_nesting: int) -> FaultPlace | None:
    """Where the first thing is that no document holds: a key that is no str, an extension, or too deep a list or dict.

    :param big_int: the extension that a document may hold.
    """
    around: list[tuple[bool, int, int]] = []  # of each list or dict around the one below: as there
    is_map, left, step = False, 1, -1  # of the innermost one: whether it is a dict, what is to come, and its step
    at, size = 0, len(body)
    while at < size:
        here, first = at, body[at]
        if not is_map:
            step += 1
        elif not left & 1:
            step = -1 - here
            if first not in _TEXTS:
                return _steps(around), here, True
        left -= 1
        behind = _FIXED[first]
        if behind >= 0:
            at += 1 + behind
        elif first in _LONG or first in _EXTENSIONS:
            end = _end(body, at)
            if end is None:
                return None
            if first in _EXTENSIONS and _code(body, at) != big_int:
                return _steps([*around, (is_map, left, step)]), here, False
            at = end
        elif first == _NEVER_USED:
            return None
        else:
            if len(around) >= most_nesting:
                return _steps([*around, (is_map, left, step)]), here, False
            width = _CONTAINERS.get(first, 0)
            at += 1 + width
            if at > size:
                return None
            around.append((is_map, left, step))
            left = int.from_bytes(body[here + 1 : at], "big") if width else first & 0x0F
            is_map, step = first < 0x90 or first >= 0xDE, -1
            if is_map:
                left *= 2
        while not left:
            if not around:
                return None
            is_map, left, step = around.pop()
    return None


def _steps(around: Sequence[tuple[bool, int, int]]) -> list[int]:
    """The steps into lists and dicts; the first one stands for the document itself."""
    return [step for _, _, step in around[1:]]


def _end(body: bytes | memoryview, at: int) -> int | None:
    """Where that ends which begins at a place; None: it is a list or dict, or so much of it isn't there."""
    first = body[at]
    if _FIXED[first] >= 0:
        return at + 1 + _FIXED[first]
    width = _LONG.get(first)
    more = 0
    if width is None:
        width = _EXTENSIONS.get(first)
        if width is None:
            return None
        more = 1  # its type
    behind = at + 1 + width
    if behind + 1 > len(body):
        return None
    length = int.from_bytes(body[at + 1 : behind], "big") if width else 1 << (first - 0xD4)
    return behind + more + length


def _code(body: bytes | memoryview, at: int) -> int:
    """The type of the extension that begins at a place."""
    code = body[at + 1 + _EXTENSIONS[body[at]]]
    return code if code < 0x80 else code - 0x100


def _value(body: bytes | memoryview, at: int) -> object:
    """What begins at a place, and is no list or dict."""
    return _decode(body[at : _end(body, at)])


def _foreign_key(body: bytes | memoryview, at: int) -> str:
    if body[at] in _CONTAINERS or 0x80 <= body[at] < 0xA0:
        return "a map with a key that is a list or map; keys are str"
    key = _value(body, at)
    return f"a map with the key {shown_value(key)}, of type {type(key).__name__}; keys are str"


def _foreign_value(body: bytes | memoryview, at: int, depth: int) -> str:
    first = body[at]
    if first not in _EXTENSIONS:
        a = "a dict" if first < 0x90 or first >= 0xDE else "a list"
        return f"{a} {depth + 1} levels deep; a document nests at most {settings.MAX_NESTING} levels"
    code = _code(body, at)
    if code == _TIMESTAMP:
        return "a timestamp of MessagePack, which no document holds"
    return f"the extension type {code} of MessagePack, which no document holds"
