"""TLS between all parts of a cluster, over real sockets: who is accepted, and who is refused with which line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Literal, cast

import pytest
from certificates import Certificates
from functional.secured import SecuredCluster, Side, yesterday
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from pyshard import Client, Tls, connect
from pyshard.errors import ConfigError, NotTrusted, PyshardError, Unavailable
from pyshard.net import client_endpoints
from pyshard.net.address_parsing import Server
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import answers_in, apply_box
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Read
from pyshard.security import tls

pytestmark = pytest.mark.functional

_SEE = '; see the documentation, "TLS"'
_FOREIGN = "the peer's certificate is refused: it isn't of an authority that this side trusts"
_REFUSED = "the peer refuses this side's certificate: "

#: What is wrong with a daemon's certificate, and what is said of it.
DAEMONS = {
    "authority": _FOREIGN,
    "name": "the peer's certificate is for other.example, 10.1.2.3, not for 127.0.0.1",
    "nameless": "the peer's certificate names nobody, expected 127.0.0.1 in its subjectAltName",
    "expired": "the peer's certificate is refused: it has expired",
}

#: What is wrong with a client's certificate; what the client is told, and what the daemon's log has.
CLIENTS = {
    "none": ("the peer wants a certificate of this side, which shows none", "the peer shows no certificate"),
    "authority": (f"{_REFUSED}it isn't of an authority that the peer trusts", _FOREIGN),
    "expired": (f"{_REFUSED}it has expired", "the peer's certificate is refused: it has expired"),
    "usage": (
        f"{_REFUSED}it isn't meant for this use",
        "the peer's certificate is refused: it isn't meant for this use (extended key usage)",
    ),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority's certificates."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def bad(certificates: Certificates) -> dict[str, Tls]:
    """Certificates that are to be refused."""
    return {
        "none": Tls(certificates.ca),
        "authority": certificates.issue("stranger", "127.0.0.1", authority=certificates.other),
        "name": certificates.issue("namesake", "other.example", "10.1.2.3"),
        "nameless": certificates.nameless(),
        "usage": certificates.nameless(),
        "expired": certificates.issue("late", "127.0.0.1", until=timedelta(hours=-1)),
    }


@asynccontextmanager
async def running(
    shard: Side, bootstrap: Side, dials: Tls | None, host: str = "127.0.0.1"
) -> AsyncIterator[SecuredCluster]:
    """A cluster that runs."""
    made = SecuredCluster(shard, bootstrap, dials, host)
    made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def connected(
    made: SecuredCluster,
    files: Tls | Literal[False] | None,
    server: Server | None = None,
    deadline: float = 5,
) -> AsyncIterator[Client]:
    """A client that is connected."""
    client = await connect(made.reactor, server or made.server, tls=files, deadline=deadline)
    try:
        yield client
    finally:
        await client.close()


async def refusal(
    made: SecuredCluster, files: Tls | Literal[False] | None, server: Server | None = None, deadline: float = 5
) -> PyshardError:
    """What a client fails with, at the bootstrap or at the shard; in one line."""
    with pytest.raises(PyshardError) as refused:
        async with connected(made, files, server, deadline) as client:
            await client.write("test", 1)
    assert "\n" not in str(refused.value)
    return refused.value


def failures(lines: list[str]) -> list[str]:
    """The lines about handshakes, without the connection's name and the peer's port."""
    return [line.partition(": no TLS: ")[2] for line in lines if ": no TLS: " in line]


async def test_all_with_certificates(certificates: Certificates, log_lines: list[str]) -> None:
    """Bootstrap, shard and client, each with a certificate of the authority: everything works, in bulk, too."""
    side = Side(certificates.daemon)
    async with running(side, side, certificates.daemon) as made:
        await made.ready()
        async with connected(made, certificates.client) as client:
            assert await client.write("test", "hello world") == 60
            large = bytes(range(256)) * 16_384
            await client.write("large", large)
            found = await client.read("large")
            assert found is not None
            assert found["record"] == large
            assert await client.write_many((f"key{n}", n) for n in range(2000)) == [24] + [28] * 1999
            await client.create_index("pages")
    assert failures(log_lines) == []


@pytest.mark.parametrize("where", ["bootstrap", "shard"])
@pytest.mark.parametrize("case", DAEMONS)
async def test_bad_daemons(
    certificates: Certificates, bad: dict[str, Tls], where: str, case: str, log_lines: list[str]
) -> None:
    """A client refuses a bootstrap, and a shard, at once; so does the bootstrap a shard."""
    good, wrong = Side(certificates.daemon), Side(bad[case])
    sides = (wrong, good) if where == "shard" else (good, wrong)
    async with running(*sides, certificates.daemon) as made:
        await made.wait(lambda: made.condition() != ("unreachable", "not reached yet"), "the bootstrap has dialed")
        error = await refusal(made, certificates.client)
        name = f"shard 'a' at 127.0.0.1:{made.shard_port}" if where == "shard" else f"the bootstrap at {made.server}"
        assert (type(error), str(error)) == (NotTrusted, f"{name}: {DAEMONS[case]}{_SEE}")
        expected = ("unreachable", DAEMONS[case] + _SEE) if where == "shard" else ("ready", "")
        assert made.condition() == expected
        assert len([line for line in log_lines if DAEMONS[case] in line]) == (where == "shard")


@pytest.mark.parametrize("case", CLIENTS)
async def test_bad_clients(certificates: Certificates, bad: dict[str, Tls], case: str, log_lines: list[str]) -> None:
    """A daemon refuses a client, with one line in its log; the client is told why, at once."""
    told, logged = CLIENTS[case]
    good = Side(certificates.daemon)
    async with running(good, good, certificates.daemon) as made:
        dial = tls.dialing(client_endpoints.dial_with(made.reactor, made.reactor), bad[case], made.reactor, yesterday)
        with pytest.raises(NotTrusted) as refused:
            await connect(made.reactor, made.server, tls=False, dial=dial)
        assert str(refused.value) == f"the bootstrap at {made.server}: {told}{_SEE}"
        await made.wait(lambda: len(failures(log_lines)) > 0, "the log has it")
        assert failures(log_lines) == [logged + _SEE]


async def test_client_at_the_shard(certificates: Certificates, bad: dict[str, Tls]) -> None:
    """A shard that wants a certificate refuses a client that the bootstrap took without one."""
    async with running(Side(certificates.daemon), Side(certificates.daemon, True), certificates.daemon) as made:
        await made.ready()
        error = await refusal(made, bad["none"])
        assert (type(error), str(error)) == (
            NotTrusted,
            f"shard 'a' at 127.0.0.1:{made.shard_port}: {CLIENTS['none'][0]}{_SEE}",
        )


async def test_any_client(certificates: Certificates, bad: dict[str, Tls]) -> None:
    """Daemons that are told to do so take clients without a certificate; these verify them all the same."""
    side = Side(certificates.daemon, any_client=True)
    async with running(side, side, certificates.daemon) as made:
        await made.ready()
        async with connected(made, bad["none"]) as client:
            assert await client.write("test", 1) == 28
        assert isinstance(await refusal(made, Tls(certificates.other_ca)), NotTrusted)


@pytest.mark.parametrize("case", CLIENTS)
async def test_bad_bootstrap(certificates: Certificates, bad: dict[str, Tls], case: str, log_lines: list[str]) -> None:
    """A shard refuses a bootstrap; that says so once, not once an attempt, and so does the shard."""
    told, logged = CLIENTS[case]
    good = Side(certificates.daemon)
    async with running(good, good, bad[case]) as made:
        await made.until_unreachable(told + _SEE)
        await made.wait(lambda: made.dialed > 3, "further attempts")
        assert failures(log_lines) == [logged + _SEE]
        assert len([line for line in log_lines if told in line]) == 1


async def test_plain_client(certificates: Certificates, log_lines: list[str]) -> None:
    """A client without TLS gets no answer from a daemon with it, and says why that may be."""
    good = Side(certificates.daemon)
    async with running(good, good, certificates.daemon) as made:
        error = await refusal(made, False, deadline=0.5)
        assert (type(error), str(error)) == (
            Unavailable,
            f"the bootstrap at {made.server} gave no answer within 0.5 s: the connection was closed before any answer; "
            "perhaps the peer speaks TLS",
        )
        assert failures(log_lines) == ["the peer doesn't speak TLS" + _SEE]


@pytest.mark.parametrize("where", ["bootstrap", "shard"])
async def test_plain_daemon(certificates: Certificates, where: str, log_lines: list[str]) -> None:
    """A client with TLS never falls back to plain TCP: a daemon without it is out of its reach."""
    plain, good = Side(None), Side(certificates.daemon)
    sides = (plain, good, None) if where == "shard" else (good, plain, certificates.daemon)
    async with running(*sides) as made:
        await made.ready()
        error = await refusal(made, certificates.client, deadline=0.5)
        assert type(error) is Unavailable
        assert str(error).endswith(
            ": the connection was closed during the TLS handshake; perhaps the peer doesn't speak TLS"
        )
        assert any(
            line.endswith("closed, the peer broke the protocol: it speaks TLS here, and this side doesn't")
            for line in log_lines
        )
        assert made.shard.shard.store.documents == 0


async def test_bootstrap_without_tls(certificates: Certificates) -> None:
    """A bootstrap without TLS doesn't reach a shard with it, nor one with it a shard without."""
    good = Side(certificates.daemon)
    for shard, dials, reason in (
        (good, None, "the connection was closed before any answer; perhaps the peer speaks TLS"),
        (
            Side(None),
            certificates.daemon,
            "the connection was closed during the TLS handshake; perhaps the peer doesn't speak TLS",
        ),
    ):
        async with running(shard, good, dials) as made:
            await made.until_unreachable(reason)


@pytest.mark.parametrize("kind", ["tls", "ssl"])
async def test_endpoint_strings(certificates: Certificates, bad: dict[str, Tls], kind: str) -> None:
    """A client endpoint string's files hold for the shards of the map, too."""
    names = {"tls": ("trustRoots", "certificate"), "ssl": ("caCertsDir", "certKey")}[kind]

    def string(port: int, files: Tls) -> str:
        shown = [] if files.certificate is None else [f"{names[1]}={files.certificate}", f"privateKey={files.key}"]
        return ":".join([kind, "127.0.0.1", str(port), f"{names[0]}={files.ca}", *shown])

    async with running(Side(certificates.daemon), Side(certificates.daemon, True), certificates.daemon) as made:
        await made.ready()
        async with connected(made, None, string(made.port, certificates.client)) as client:
            assert await client.write("test", 1) == 28
        error = await refusal(made, None, string(made.port, bad["none"]))
        assert (type(error), str(error)) == (
            NotTrusted,
            f"shard 'a' at 127.0.0.1:{made.shard_port}: {CLIENTS['none'][0]}{_SEE}",
        )
        with pytest.raises(ConfigError, match="expected one of the two"):
            await connect(made.reactor, string(made.port, certificates.client), tls=certificates.client)


async def test_names(certificates: Certificates) -> None:
    """A daemon is known by the host that the map says, here by a name."""
    side = Side(certificates.daemon)
    async with running(side, side, certificates.daemon, host="localhost") as made:
        await made.ready()
        async with connected(made, certificates.client, ["localhost", made.port]) as client:
            assert await client.write("test", 1) == 28


async def test_impossible_name(certificates: Certificates) -> None:
    """A host that no certificate can be for is refused as one that isn't trusted."""

    def nowhere(host: str, port: int) -> IStreamClientEndpoint:
        return client_endpoints.dial_with(made.reactor, made.reactor)("127.0.0.1", port)

    side = Side(certificates.daemon)
    async with running(side, side, certificates.daemon) as made:
        dial = tls.dialing(nowhere, certificates.client, made.reactor)
        with pytest.raises(NotTrusted, match="host 'no host': no certificate can be for it"):
            await connect(made.reactor, ["no host", made.port], tls=False, dial=dial)


async def test_a_peer_that_does_not_read(certificates: Certificates) -> None:
    """Over TLS, too, who asks and reads no answers isn't read from, and has all its answers when it reads again."""
    side = Side(certificates.daemon)
    asked = 120
    async with running(side, side, certificates.daemon) as made:
        await made.ready()
        async with connected(made, certificates.client) as client:
            await client.write("large", b"x" * 1_000_000)
        dial = tls.dialing(client_endpoints.dial_with(made.reactor, made.reactor), certificates.client, made.reactor)
        factory = Factory.forProtocol(lambda: DialedConnection(made.reactor))
        peer = cast(DialedConnection, await dial("127.0.0.1", made.shard_port).connect(factory))
        await peer.call(commands.Hello, 5, protocol=commands.PROTOCOL)
        peer.expect_large()
        peer.pauseProducing()
        epoch = made.bootstrap.bootstrap.state.epoch
        runs = encode_runs([Read("", [b"large"])])
        answers = [peer.call_directly(commands.Apply.commandName, apply_box(epoch, runs)) for _ in range(asked)]
        (served,) = [connection for connection in made.connections() if connection.id == "c3"]
        await made.wait(lambda: served._unread, "the shard has paused the peer")
        await made.pause(0.3)
        assert served.operations < asked / 2
        peer.resumeProducing()
        for answer in answers:
            assert len(answers_in(await answer)) > 1_000_000
        peer.close()


async def test_several_addresses(certificates: Certificates, bad: dict[str, Tls]) -> None:
    """A server that isn't trusted is passed over for the next one; when none is, the error names each."""
    async with running(Side(certificates.daemon), Side(bad["authority"]), certificates.daemon) as made:
        await made.ready()
        shard = f"127.0.0.1:{made.shard_port}"
        async with connected(made, certificates.client, f"{made.server},{shard}") as client:
            assert await client.write("test", 1) == 28
        error = await refusal(made, Tls(certificates.other_ca), f"{made.server},{shard}")
        assert (type(error), str(error).count(_SEE)) == (NotTrusted, 2)
