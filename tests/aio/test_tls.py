"""The asyncio client with TLS, by Python's own ssl, against daemons with Twisted's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from aio.loop_cluster import HOST, LoopCluster, run
from certificates import Certificates

from pyshard import Tls
from pyshard.aio import connect
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
