"""How the arguments of commands stand in a box: bytes of any length, and numbers. Pure.

A value of AMP has 65,535 bytes at the most, so longer ones cross in chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from twisted.protocols import amp

from pyshard.errors import BadRequest, shortened
from pyshard.protocol.boxes import LONGEST_VALUE

#: The arguments of an answer, by name: what a responder gives back, now or later.
Arguments: TypeAlias = Mapping[str, object]


class ChunkedBytes(amp.Argument):
    """Bytes of any length: the argument's own key holds how many chunks there are, as a decimal number.

    Chunk n (from 0) is the value of the key ``name.n``. Every chunk but the last has 65,535 bytes; empty bytes have no
    chunk.
    """

    def fromBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, object], proto: object) -> None:
        absent = self.optional and name not in strings
        objects[name.decode()] = None if absent else take_chunks(strings, name)

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, bytes | None], proto: object) -> None:
        data = objects.get(name.decode())
        if data is not None:
            put_chunks(strings, name, data)
        elif not self.optional:
            raise KeyError(name)


def put_chunks(box: dict[bytes, bytes], name: bytes, data: bytes) -> None:
    """Put bytes of any length into a box, as `ChunkedBytes` does."""
    if len(data) <= LONGEST_VALUE:
        if data:
            box[name] = b"1"
            box[name + b".0"] = data
        else:
            box[name] = b"0"
        return
    chunks = [data[begin : begin + LONGEST_VALUE] for begin in range(0, len(data), LONGEST_VALUE)]
    box[name] = b"%d" % len(chunks)
    for number, chunk in enumerate(chunks):
        box[b"%s.%d" % (name, number)] = chunk


def take_chunks(box: Mapping[bytes, bytes], name: bytes) -> bytes:
    """Bytes of any length out of a box, as `ChunkedBytes` reads them.

    :raises BadRequest: the count of chunks is missing or no number, or a chunk is missing.
    """
    count = box.get(name)
    if count is None or not count.isdigit() or len(count) > 6:
        raise BadRequest(f"argument {name!r}: found {count!r}, expected the number of its chunks")
    try:
        if count == b"1":
            return box[name + b".0"]
        return b"".join([box[b"%s.%d" % (name, number)] for number in range(int(count))])
    except KeyError as missing:
        raise BadRequest(f"argument {name!r}: {int(count)} chunks were announced, {missing} isn't there") from None


def take_integer(box: Mapping[bytes, bytes], name: bytes) -> int:
    """A whole number out of a box.

    :raises BadRequest: it is missing, or no number.
    """
    text = box.get(name, b"")
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"argument {name!r}: found {shortened(repr(text), 50)}, expected a number") from None
