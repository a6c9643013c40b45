"""How bytes of any length stand in a box. Pure.

A value of AMP has 65,535 bytes at the most, so longer ones cross in chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TypeAlias

from pyshard.protocol.argument_types import WireArgument, is_number, shown_bytes, unfit
from pyshard.protocol.boxes import LONGEST_VALUE

#: The arguments of an answer, by name: what a responder gives back, now or later.
Arguments: TypeAlias = Mapping[str, object]


class ChunkedBytes(WireArgument[bytes]):
    """Bytes of any length: the argument's own key holds how many chunks there are, as a decimal number.

    Chunk n (from 0) is the value of the key ``name.n``. Every chunk but the last has 65,535 bytes; empty bytes have no
    chunk.

    :param most: bytes that it has at the most, where a box may have more. So what decodes it has little to do.
    """

    def __init__(self, most: int | None = None, optional: bool = False) -> None:
        super().__init__(optional)
        self._most = most

    def take(self, box: Mapping[bytes, bytes], name: bytes) -> bytes | None:
        absent = self.optional and name not in box and name + b".0" not in box
        value = None if absent else take_chunks(box, name)
        if self._most is not None and value is not None and len(value) > self._most:
            raise unfit(name, f"{len(value):,} bytes", f"{self._most:,} at the most")
        return value

    def put(self, box: MutableMapping[bytes, bytes], name: bytes, value: bytes | None) -> None:
        if value is not None:
            put_chunks(box, name, value)
        elif not self.optional:
            raise KeyError(name)


def put_chunks(box: MutableMapping[bytes, bytes], name: bytes, data: bytes) -> None:
    """Put bytes of any length into a box, as `ChunkedBytes` does."""
    if len(data) <= LONGEST_VALUE:
        if data:
            box[name] = b"1"
            box[name + b".0"] = data
        else:
            box[name] = b"0"
        return
    begins = range(0, len(data), LONGEST_VALUE)
    box[name] = b"%d" % len(begins)
    for number, begin in enumerate(begins):
        box[b"%s.%d" % (name, number)] = data[begin : begin + LONGEST_VALUE]


def take_chunks(box: Mapping[bytes, bytes], name: bytes) -> bytes:
    """Bytes of any length out of a box, as `ChunkedBytes` reads them.

    :raises BadRequest: the count of chunks is missing or no number, or a chunk is missing.
    """
    count = box.get(name)
    if count == b"1" and (data := box.get(name + b".0")) is not None:  # as is mostly so
        return data
    if count is None or not is_number(count) or len(count) > 6:
        raise unfit(name, shown_bytes(count), "the number of its chunks, in decimal digits alone")
    try:
        return b"".join([box[b"%s.%d" % (name, number)] for number in range(int(count))])
    except KeyError as missing:
        chunk: bytes = missing.args[0]
        raise unfit(chunk, "nothing", f"a chunk, since {name.decode()} says that there are {int(count)}") from None
