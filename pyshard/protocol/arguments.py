"""What commands are made of: their base, and the argument for bytes of any length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from twisted.protocols import amp

from pyshard.errors import AMP_ERRORS
from pyshard.protocol.boxes import put_chunks, take_chunks
from pyshard.protocol.error_answers import unreadable
from pyshard.security.tokens import Role

#: What a responder gives back: the answer's arguments, now or later.
Arguments: TypeAlias = Mapping[str, object]


class ChunkedBytes(amp.Argument):
    """Bytes of any length: the argument's own key holds how many chunks there are, as a decimal number.

    Chunk n (from 0) is the value of the key ``name.n``; every chunk but the last has 65,535 bytes; empty bytes
    have no chunk.
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


class UnreadableAnswer(Exception):
    """The peer answered, but not what the command's answer is: whether it was done can't be known."""


class Command(amp.Command):
    """Base of every command: all of pyshard's errors are declared, so none can cost the connection.

    :cvar role: what a peer must be to have it answered; None: anyone, authenticated or not.
    """

    errors = AMP_ERRORS
    role: ClassVar[Role | None]

    @classmethod
    def parseResponse(cls, box: amp.AmpBox, protocol: object) -> dict[str, Any]:
        """The answer's arguments.

        :raises UnreadableAnswer: one of them is missing or malformed.
        """
        try:
            answer: dict[str, Any] = super().parseResponse(box, protocol)
        except Exception as error:  # noqa: BLE001  # whatever an argument's parser raises about the peer's bytes
            raise UnreadableAnswer(f"the answer to {cls.__name__} can't be read: {unreadable(error)}") from None
        return answer
