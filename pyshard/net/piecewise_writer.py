"""Large writes to a transport with TLS: in pieces, each when the transport has sent those before.

A transport with TLS encrypts all that it is given at once: for a document of 16 MiB that takes 25 to 60 ms, in which
nothing else is done. One without TLS keeps the bytes, and needs nothing of this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

#: Bytes of a piece, which takes 0.2 ms. The transport takes two or three until it has enough.
PIECE = 64 * 1024


@implementer(IPushProducer)
class PiecewiseWriter:
    """What waits to be given to one transport.

    While anything waits, all else that is written must go through it as well, so that the order is kept.

    :param transport: the one with TLS.
    :param told: whether the transport has another producer, which passes on what it is told. Otherwise this registers
        itself while anything waits.
    """

    def __init__(self, transport: ProtocolWrapper, told: bool) -> None:
        self._transport = transport
        self._told = told
        self._waiting: deque[memoryview] = deque()
        self._full = False  # whether the transport has enough for now
        self._registered = False
        self._at_end: Callable[[], None] | None = None

    @property
    def waits(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the transport has enough for now."""
        return self._full

    def write(self, data: bytes) -> None:
        """Give bytes to the transport behind those that wait. After `end_with` they are dropped."""
        if self._at_end is not None:
            return
        self._waiting.append(memoryview(data))
        if not self._told and not self._registered:
            self._registered = True
            self._transport.registerProducer(self, True)
        self._give()

    def end_with(self, call: Callable[[], None]) -> None:
        """Have a function called when all that waits has been given, and take nothing more."""
        self._at_end = call

    def discard(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._at_end = None

    # ------------------------------------------------------------------ what the transport calls

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = False
        self._give()

    def stopProducing(self) -> None:
        """See `IProducer`: the connection is lost."""
        self.discard()

    # ------------------------------------------------------------------ inside

    def _give(self) -> None:
        while self._waiting and not self._full:
            first = self._waiting[0]
            if len(first) > PIECE:
                self._waiting[0] = first[PIECE:]
            else:
                self._waiting.popleft()
            self._transport.write(bytes(first[:PIECE]))
        if self._waiting:
            return
        if self._registered:
            self._registered = self._full = False
            self._transport.unregisterProducer()
        at_end, self._at_end = self._at_end, None
        if at_end is not None:
            at_end()


def writer_for(transport: object, told: bool) -> PiecewiseWriter | None:
    """What writes to a transport in pieces; None: it has no TLS, so it doesn't need it.

    :param told: as that of `PiecewiseWriter`.
    """
    return PiecewiseWriter(transport, told) if isinstance(transport, ProtocolWrapper) else None
