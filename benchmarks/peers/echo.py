"""A stock AMP server that sends back what it receives: the cost of AMP when each call is a box of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from processes import HOST, Processes, free_port
from shapes import Pair
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.protocols.amp import AMP

from peers import echo_server
from peers.interface import Deferring, Side
from peers.messagepack import decode, encode
from pyshard import Document


class EchoDeferring(Deferring):
    """Stock `callRemote`. A read sends the record that it expects and decodes what comes back."""

    title = "stock AMP echo"

    def __init__(self, connection: AMP, records: dict[str, bytes]) -> None:
        self._connection = connection
        self._records = records

    def write(self, key: str, doc: Document) -> Deferred[object]:
        """See `Deferring`."""
        return self._call(encode(doc))

    def read(self, key: str) -> Deferred[object]:
        """See `Deferring`."""
        return self._call(self._records[key])

    def _call(self, record: bytes) -> Deferred[object]:
        return cast("Deferred[object]", self._connection.callRemote(echo_server.Echo, record=record))

    def value(self, answer: object) -> Document | None:
        """See `Deferring`."""
        return decode(cast("dict[str, bytes]", answer)["record"])

    def close(self) -> Deferred[None]:
        """See `Deferring`."""
        assert self._connection.transport is not None
        self._connection.transport.loseConnection()
        return succeed(None)


class EchoSide(Side):
    """The server."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._records: dict[str, bytes] = {}
        self._processes = Processes(folder)
        try:
            self.pids = [self._processes.start("echo", sys.executable, "-I", echo_server.__file__, str(self._port))]
            self._processes.wait_listening(self._port)
        except BaseException:
            self.close()
            raise

    async def deferring(self, reactor: Any) -> Deferring:
        """See `Side`."""
        connection = await connectProtocol(TCP4ClientEndpoint(reactor, HOST, self._port), AMP())
        return EchoDeferring(connection, self._records)

    def fill(self, calls: Iterable[list[Pair]]) -> None:
        """See `Side`; the server keeps nothing, so the records are kept here."""
        self._records.update((key, encode(doc)) for pairs in calls for key, doc in pairs)

    def close(self) -> None:
        """See `Side`."""
        self._processes.close()
