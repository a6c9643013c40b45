"""The asyncio client with TLS, by Python's own ssl, against daemons with Twisted's."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from aio.loop_cluster import HOST, LoopCluster, run
from certificates import Certificates
from twisted.internet.interfaces import IHandshakeListener, INegotiated
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pyshard import Tls
from pyshard.aio import connect
from pyshard.aio.stream_transport import TlsStreamTransport
from pyshard.aio.verb_futures import future_of
from pyshard.errors import NotTrusted, PyshardError, Unavailable

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for the module's tests."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@LOOPS
@pytest.mark.parametrize("host", [HOST, "localhost"])
def test_both_sides_show_certificates(made: Certificates, loop: str, host: str) -> None:
    """Verbs work over TLS, with large documents too, and by an address that says so."""
    client_files = made.client

    async def main() -> None:
        async with LoopCluster(2, tls=made.daemon, host=host) as cluster:
            async with connect(f"{host}:{cluster.port}", tls=client_files) as client:
                await client.write("large", "x" * 3_000_000)
                found = await client.read("large")
                assert found is not None
                assert found["record"] == "x" * 3_000_000
            string = f"tls:{host}:{cluster.port}:trustRoots={client_files.ca}:certificate={client_files.certificate}"
            async with connect(f"{string}:privateKey={client_files.key}") as client:
                assert await client.has("large")

    run(main, loop)


def _other_authority(made: Certificates) -> Tls:
    return attrs.evolve(made.client, ca=made.other_ca)


def _no_certificate(made: Certificates) -> Tls:
    return Tls(made.ca)


def _of_strangers(made: Certificates) -> Tls:
    return made.issue("stranger", "client.example", authority=made.other)


def _expired(made: Certificates) -> Tls:
    return made.issue("expired", "client.example", until=timedelta(hours=-1))


@LOOPS
@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (_other_authority, "the peer's certificate is refused: it isn't of an authority that this side trusts"),
        (_no_certificate, "the peer wants a certificate of this side, which shows none"),
        (_of_strangers, "the peer refuses this side's certificate: it isn't of an authority that the peer trusts"),
        (_expired, "the peer refuses this side's certificate: it has expired"),
    ],
)
def test_refusals(made: Certificates, files: Callable[[Certificates], Tls], reason: str, loop: str) -> None:
    """A certificate that one side refuses is `NotTrusted`, at once, with the reason in words."""

    async def main() -> None:
        async with LoopCluster(1, tls=made.daemon) as cluster:
            with pytest.raises(NotTrusted, match=reason):
                await connect(cluster.server, tls=files(made))

    run(main, loop)


@LOOPS
def test_another_name(made: Certificates, loop: str) -> None:
    """The certificate must be for the host that was dialed."""

    async def main() -> None:
        async with LoopCluster(1, tls=made.issue("address", HOST)) as cluster:
            with pytest.raises(NotTrusted, match="isn't for localhost, expected it in its subjectAltName"):
                await connect(f"localhost:{cluster.port}", tls=made.client)

    run(main, loop)


@LOOPS
@pytest.mark.parametrize(
    ("daemon", "client", "error", "reason"),
    [
        (True, False, Unavailable, "perhaps the peer speaks TLS"),
        (False, True, Unavailable, "perhaps the peer doesn't speak TLS"),
    ],
    ids=["daemon alone", "client alone"],
)
def test_one_side_alone(
    made: Certificates, daemon: bool, client: bool, error: type[PyshardError], reason: str, loop: str
) -> None:
    """Where one side speaks TLS and the other doesn't, the error says so."""

    async def main() -> None:
        async with LoopCluster(1, tls=made.daemon if daemon else None) as cluster:
            with pytest.raises(error, match=reason):
                await connect(cluster.server, tls=made.client if client else False, deadline=1)

    run(main, loop)


@implementer(IHandshakeListener)
class _Listening(Protocol):
    """Notes whether it is told of the handshake."""

    told = False

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        self.told = True


@LOOPS
@pytest.mark.parametrize("tls", [True, False])
def test_the_handshake(made: Certificates, loop: str, tls: bool) -> None:
    """A protocol is told of the handshake where there was one, and can look at the peer's certificate then."""

    async def main() -> None:
        async with LoopCluster(1, tls=made.daemon if tls else None) as cluster:
            endpoint = cluster.connections.dial(HOST, cluster.port)
            connecting = endpoint.connect(Factory.forProtocol(_Listening))
            found = await future_of(cluster.clock.loop, connecting)
            assert isinstance(found, _Listening)
            assert found.told == tls
            transport: object = found.transport
            assert INegotiated.providedBy(transport) == tls
            if tls:
                assert isinstance(transport, TlsStreamTransport)
                assert verifyObject(INegotiated, transport)
                assert transport.getPeerCertificate() is not None
                assert transport.getHandle() is not None

    run(main, loop)


@LOOPS
def test_what_a_refusal_leaves_behind(made: Certificates, loop: str) -> None:
    """When `connect` has failed, all sockets are closed, so that the loop can be closed at once."""
    new = asyncio.new_event_loop
    if loop == "uvloop":
        new = pytest.importorskip("uvloop", reason="uvloop isn't installed").new_event_loop

    async def main(port: int, give_up: float | None) -> None:
        files = Tls(made.ca if give_up else made.other_ca)
        with pytest.raises((NotTrusted, TimeoutError)):
            await asyncio.wait_for(connected(f"{HOST}:{port}", files), give_up)

    async def connected(address: str, files: Tls) -> None:
        await connect(address, tls=files)

    for give_up in (None, 0.5):
        ending = new()
        with server(_chain(made.daemon)) as port, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ending.run_until_complete(main(port, give_up))
            ending.close()
            gc.collect()
        assert [str(one.message) for one in caught] == []


def _chain(files: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(files.certificate), str(files.key))
    return context


@contextmanager
def server(context: ssl.SSLContext) -> Iterator[int]:
    """A server in a thread, with TLS, that takes one connection, says nothing and hears nothing; its port."""
    over = threading.Event()
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            accepted.settimeout(5)
            with accepted, suppress(OSError), context.wrap_socket(accepted, server_side=True):
                over.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_new_files(tmp_path: Path) -> None:
    """Files that were exchanged count for the next connection, without a new client."""
    own = Certificates(tmp_path)

    async def main() -> None:
        async with LoopCluster(1, tls=own.daemon) as cluster, connect(cluster.server, tls=own.client) as client:
            await client.write("a", 1)
            own.ca.write_bytes(own.other_ca.read_bytes())
            for endpoint in cluster.endpoints.values():
                endpoint.abort()
            with pytest.raises(NotTrusted):
                await client.read("a")

    run(main)
