"""What is no record, seen from outside: by its head and its first bytes, without decoding the document. Pure.

A shard refuses such bytes, since no reader could make anything of them. What is deeper in a document is left to
readers: a shard would need more time to find it than to store the record.

Rules:

- a record has a head and at least one byte; the head's first byte is the format;
- the document's first byte begins a value of MessagePack that a document can be;
- the size in the head is 0 for empty lists and dicts alone, and for lists and dicts of them: `remove` answers with it,
  and 0 would say that there was nothing. Every other number passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from pyshard.compiled import IN_USE, column_leaves
from pyshard.model.document_encoding import FORMAT, HEAD
from pyshard.model.messagepack_faults import BIG_INT

_LOOK = 1000  # elements of a document of size 0 that are looked at
_OUTLINE = HEAD.size + 1
_MANY = 8  # records for which the calls in C are quicker

#: Extension heads: first byte → bytes of the length behind it.
_EXTENSIONS = {0xD4: 0, 0xD5: 0, 0xD6: 0, 0xD7: 0, 0xD8: 0, 0xC7: 1, 0xC8: 2, 0xC9: 4}
_NEVER_USED = 0xC1

#: The first bytes of documents that need no second look; and for each byte whether it is one of them.
_FIRST_BYTES = bytes(set(range(256)) - {*_EXTENSIONS, _NEVER_USED})
_IS_FIRST_BYTE = bytes(byte in _FIRST_BYTES for byte in range(256))

#: Arrays and maps with a length of their own: first byte → bytes of the length, and whether it is a map.
_CONTAINERS = {0xDC: (2, False), 0xDD: (4, False), 0xDE: (2, True), 0xDF: (4, True)}
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}

_outline = itemgetter(slice(_OUTLINE))
_FORMAT_AND_NO_SIZE = HEAD.pack(FORMAT, 0)


def are_records(records: Sequence[bytes]) -> bool:
    """Whether byte strings are records.

    :return: False also for some that are, which `record_fault` looks at.
    """
    if IN_USE and column_leaves.are_outlines(records, FORMAT, _IS_FIRST_BYTE, HEAD.size):
        return True
    return are_records_plainly(records)


def are_records_plainly(records: Sequence[bytes]) -> bool:
    """What `are_records` gives; many of them are looked at by a few calls in C."""
    if len(records) < _MANY:
        return not any(map(record_fault, records))
    together = b"".join(map(_outline, records))
    return (
        len(together) == len(records) * _OUTLINE
        and together[::_OUTLINE].count(FORMAT) == len(records)
        and not together[HEAD.size :: _OUTLINE].translate(None, _FIRST_BYTES)
        and _FORMAT_AND_NO_SIZE not in together
    )


def record_fault(record: bytes) -> str | None:
    """What is wrong with a byte string, if it is no record; None: nothing."""
    if len(record) < _OUTLINE:
        return f"{len(record)} byte{'' if len(record) == 1 else 's'}, expected {HEAD.size} of a head and a document"
    if record[0] != FORMAT:
        return f"a head that begins with the byte {record[0]}, expected the format {FORMAT}"
    first = record[HEAD.size]
    if first == _NEVER_USED or (first in _EXTENSIONS and _extension(record) != BIG_INT):
        return f"a document that begins with the byte 0x{first:02x}, which begins none"
    if record.startswith(_FORMAT_AND_NO_SIZE) and _holds_a_value(record):
        return "a size of 0 for a document that isn't empty, expected its size, or 1"
    return None


def _extension(record: bytes) -> int | None:
    """The type of the extension that a document is, if that much of it is there."""
    place = HEAD.size + 1 + _EXTENSIONS[record[HEAD.size]]
    return record[place] if place < len(record) else None


def _holds_a_value(record: bytes) -> bool:
    """Whether a document holds anything but lists and dicts, as far as its first elements show."""
    place = HEAD.size
    left, maps = [1], [False]  # for each list or dict around: how many elements, keys included, are to come
    for _ in range(_LOOK):
        while left and not left[-1]:
            left.pop()
            maps.pop()
        if not left or place >= len(record):
            return False
        first = record[place]
        is_key = maps[-1] and left[-1] % 2 == 0
        left[-1] -= 1
        place += 1
        if is_key:
            if 0xA0 <= first < 0xC0:
                place += first & 0x1F
            elif first in _STRINGS:
                length = _STRINGS[first]
                place += length + int.from_bytes(record[place : place + length], "big")
            else:
                return True  # no key of a document
        elif 0x80 <= first < 0xA0:
            maps.append(first < 0x90)
            left.append((first & 0x0F) * (2 if maps[-1] else 1))
        elif first in _CONTAINERS:
            length, is_map = _CONTAINERS[first]
            maps.append(is_map)
            left.append(int.from_bytes(record[place : place + length], "big") * (2 if is_map else 1))
            place += length
        else:
            return True
    return False
