"""Whether the peer of a transport has ended the connection, as the system tells, with real sockets."""

from __future__ import annotations

import socket
import struct
import sys
import time

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from pyshard.net.twisted_internals import has_unread, peer_has_ended


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("end", ["close", "half-close", "reset"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_peer_has_ended(end: str, wrapped: bool) -> None:
    """A peer that has ended the connection is known, though much that it sent wasn't read; with TLS as without."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours, theirs:
        ours.setblocking(False)
        connection = Connection(ours, Protocol(), EPollReactor())
        connection.connected = 1
        transport: object = connection
        if wrapped:
            wrapper = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
            wrapper.transport = connection
            transport = wrapper
        assert not has_unread(transport)
        theirs.sendall(b"x" * 100_000)
        assert not peer_has_ended(transport)
        assert has_unread(transport)
        assert has_unread(transport, 30)
        if end == "half-close":
            theirs.shutdown(socket.SHUT_WR)
        else:
            if end == "reset":
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
        deadline = time.monotonic() + 10
        while not peer_has_ended(transport) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert peer_has_ended(transport)
        assert has_unread(transport) or end == "reset"


def test_few_unread_bytes() -> None:
    """So many as don't count are as good as none."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        connection = Connection(ours, Protocol(), EPollReactor())
        connection.connected = 1
        theirs.send(b"x" * 30)
        assert [has_unread(connection, most) for most in (0, 29, 30)] == [True, True, False]


def test_peer_of_what_is_no_tcp() -> None:
    """Of other transports nothing is known, nor of one whose socket is closed: its end is noticed anyway."""
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        connection = Connection(ours, Protocol(), EPollReactor())
        connection.connected = 1
        assert not peer_has_ended(connection)
        connection.connected = 0
        assert not peer_has_ended(connection)
    assert not peer_has_ended(None)
    assert not has_unread(None)
