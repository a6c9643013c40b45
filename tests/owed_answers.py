"""What a daemon owes to who sent it some bytes: the model for fuzz tests."""

from __future__ import annotations

import struct

import attrs

from pyshard.protocol.boxes import Box, Limits


@attrs.frozen
class Owed:
    """What a daemon owes to who sent some bytes.

    :param tags: of the commands, each of which is answered once.
    :param breach: whether the connection is closed.
    :param tokens: how many tokens were presented.
    """

    tokens: int
    tags: list[bytes]
    breach: bool


def owed(data: bytes, limits: Limits) -> Owed:
    """The model: docs/protocol.md, "Boxes", read slowly and once."""
    at, tags, tokens = 0, list[bytes](), 0
    while True:
        box, size, keys = Box(), 2, 0
        while True:
            if len(data) - at < 2:
                return Owed(tokens, tags, False)
            (length,) = struct.unpack_from(">H", data, at)
            if length == 0:
                break
            if length > 255:
                return Owed(tokens, tags, True)
            if len(data) - at - 2 - length < 2:
                return Owed(tokens, tags, False)
            (value,) = struct.unpack_from(">H", data, at + 2 + length)
            keys, size = keys + 1, size + 4 + length + value
            if keys > limits.keys or size > limits.size:
                return Owed(tokens, tags, True)
            if len(data) < at + 4 + length + value:
                return Owed(tokens, tags, False)
            key = data[at + 2 : at + 2 + length]
            box[key] = data[at + 4 + length : at + 4 + length + value]
            at += 4 + length + value
        at += 2
        if b"_answer" in box or b"_error" in box or b"_command" not in box or b"_ask" not in box:
            return Owed(tokens, tags, True)
        tags.append(box[b"_ask"])
        tokens += box[b"_command"] == b"Authenticate" and b"token" in box
