"""Two ends of one connection, of which one answers; or one of them, whose peer is the test, byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from deferreds import result
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp

from pyshard.net.command_connection import BoundedAMP, Responder
from pyshard.protocol.argument_types import Integer
from pyshard.protocol.boxes import Limits
from pyshard.protocol.chunked_arguments import ChunkedBytes
from pyshard.protocol.command_boxes import Command


class Echo(Command):
    """Gives back what it was given."""

    commandName = b"Echo"
    arguments = [(b"data", ChunkedBytes())]
    response = [(b"data", ChunkedBytes())]


class Add(Command):
    """Adds."""

    commandName = b"Add"
    arguments = [(b"a", Integer()), (b"b", Integer(optional=True))]
    response = [(b"sum", Integer())]


class Later(Command):
    """Is answered when the test says so."""

    commandName = b"Later"


class Answering(BoundedAMP):
    """The side that answers."""

    def __init__(self, clock: Clock, limits: Limits | None = None) -> None:
        super().__init__(clock, limits or Limits())
        self.failing: BaseException | None = None
        self.gives: Any = ...
        self.waiting: list[Deferred[Mapping[str, object]]] = []

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(Echo, cls.echo), (Add, cls.add), (Later, cls.later)]

    def echo(self, data: bytes) -> Mapping[str, object]:
        return {"data": data}

    def add(self, a: int, b: int | None) -> Any:
        if self.failing is not None:
            raise self.failing
        return {"sum": a + (b or 0)} if self.gives is ... else self.gives

    def later(self) -> Deferred[Mapping[str, object]]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


@attrs.frozen
class Pair:
    """Two ends of one connection in memory."""

    clock: Clock
    asking: BoundedAMP
    answering: Answering
    flush: Callable[[], object]

    def ask(self, command: type[Command], **arguments: object) -> Any:
        """The answer to a call; raises what it fails with."""
        asked = self.asking.call(command, 5, **arguments)
        self.flush()
        return result(asked)


@attrs.define
class Line:
    """An answering side whose peer is the test, byte by byte."""

    clock: Clock
    protocol: Answering
    transport: StringTransport

    def closed(self) -> bool:
        """Whether it has closed the connection."""
        return bool(self.transport.disconnecting)

    def answers(self) -> list[dict[bytes, bytes]]:
        """The boxes that it sent so far."""
        return [dict(box) for box in amp.parseString(self.transport.value())]


def line(limits: Limits | None = None) -> Line:
    """A new connection to an answering side."""
    clock = Clock()
    protocol, transport = Answering(clock, limits), StringTransport()
    protocol.makeConnection(transport)
    return Line(clock, protocol, transport)


def box(**pairs: object) -> bytes:
    """A box on the wire; each value is an int, a str or bytes."""
    values = {key.encode(): value if isinstance(value, bytes) else str(value).encode() for key, value in pairs.items()}
    serialized: bytes = amp.AmpBox(values).serialize()
    return serialized


def add(tag: str, a: int, b: int) -> bytes:
    """A call of `Add` on the wire."""
    return box(_ask=tag, _command="Add", a=a, b=b)
