"""TLS that breaks in the middle of a connection."""

from __future__ import annotations

import errno
from typing import cast

import pytest
from OpenSSL import SSL

from pyshard import Pyshard
from pyshard.blocking.calling_thread_tasks import run
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.errors import NotTrusted, OutcomeUnknown, Unavailable
from pyshard.model.key_slots import slot_of
from pyshard.security.tls.byte_filter import TlsFilter
from pyshard.security.tls.contexts import TlsContext
from pyshard.testing import MemoryCluster
from pyshard.testing.memory_sockets import MemorySocket, MemorySockets


class BrokenTls:
    """Sends all in plain, and can't read anything."""

    def __init__(self) -> None:
        self._unsent: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See `TlsFilter`."""
        self._unsent.append(data)

    def take(self) -> bytes:
        """See `TlsFilter`."""
        found = b"".join(self._unsent)
        self._unsent.clear()
        return found

    def feed(self, data: bytes) -> None:
        """See `TlsFilter`."""

    def read(self) -> bytes | None:
        """See `TlsFilter`."""
        raise NotTrusted("a record was changed on the way")


def test_tls_that_breaks_after_the_greeting(app: Pyshard) -> None:
    """The connection has ended, and no more: a read is sent again over a new one, a change is in doubt."""
    assert app.write("test", 1)
    pool = app._cluster().pool_for(slot_of(b"test"))

    def break_connection() -> None:
        connection = pool.take()
        assert connection is not None
        connection._tls = BrokenTls()  # type: ignore[assignment]  # all that is asked of one
        pool.put_back(connection)

    break_connection()
    found = app.read("test")
    assert found is not None
    assert found["record"] == 1
    break_connection()
    with pytest.raises(OutcomeUnknown, match="a record was changed on the way"):
        app.write("test", 2)


class Context:
    """What a client shows and trusts, for peers that never get so far."""

    def current(self) -> SSL.Context:
        """See `TlsContext`."""
        return SSL.Context(SSL.TLS_METHOD)


@pytest.mark.parametrize("resets", [False, True])
def test_a_peer_without_tls(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, resets: bool) -> None:
    """A daemon without TLS closes the connection at once, or resets it; the error says what that may be."""

    def reset(_: MemorySocket) -> bytes:
        raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")

    if resets:
        monkeypatch.setattr(MemorySocket, "receive", reset)
    sockets = MemorySockets(cluster.network)
    connection = PooledConnection(sockets, b"s" * 16, SessionsInDoubt())
    target = ConnectionTarget("localhost", 9192, tls=lambda host: TlsFilter(cast(TlsContext, Context()), host))
    with pytest.raises(Unavailable, match="closed during the TLS handshake; perhaps the peer doesn't speak TLS"):
        run(sockets, connection.open(target, lambda _: None, sockets.now() + 5))
