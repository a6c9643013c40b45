"""A cluster that announces addresses at which nobody listens, behind forwarders as NAT is, and who gets in how."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
from certificates import Certificates
from functional.cluster import HOST, PATIENCE, Cluster, NewCluster, run, until
from functional.deferred_calls import run_deferred
from functional.forwarder import Forwarder
from functional.shell import shell_on
from functional.up_run import Up, gone
from ports import free_port
from twisted.internet.defer import Deferred

from pyshard import Client, Pyshard, Tls, aio
from pyshard.errors import NotTrusted, PyshardError, Unavailable

pytestmark = pytest.mark.functional

#: Has a client add one to each of some keys: what they are then. Arguments: server, keys, and how to connect.
Face: TypeAlias = Callable[..., list[int]]


@attrs.frozen
class BehindNat:
    """A cluster whose shards are reached through forwarders.

    :param announced: the addresses in the map, in slot order.
    :param outside: the ports of the forwarders before the shards.
    :param server: the bootstrap's address, through a forwarder.
    :param keys: one of each shard.
    """

    cluster: Cluster
    announced: list[str]
    outside: list[Forwarder]
    server: str
    keys: list[str]

    def addresses(self, host: str = HOST) -> dict[str, str]:
        """The mapping for clients outside.

        :param host: the forwarders' machine.
        """
        dialed = [f"{host}:{forwarder.port}" for forwarder in self.outside]
        return dict(zip(self.announced, dialed, strict=True))


def behind_nat(new_cluster: NewCluster, held: ExitStack, *options: str) -> BehindNat:
    """Such a cluster, started.

    :param options: of all daemons.
    """
    cluster = new_cluster()
    announced = []
    for shard, entry in zip(cluster.shards, cluster.config, strict=True):
        entry["port"] = free_port()
        announced.append(f"{HOST}:{entry['port']}")
        cluster.bootstrap.add_option(f"--address={announced[-1]}={HOST}:{shard.port}")
    cluster.write_config()
    for daemon in cluster.daemons:
        for option in options:
            daemon.add_option(option)
        daemon.start()
    for daemon in cluster.daemons:
        daemon.wait_listening()
    outside = [held.enter_context(Forwarder(shard.port)) for shard in cluster.shards]
    server = f"{HOST}:{held.enter_context(Forwarder(cluster.bootstrap.port)).port}"
    return BehindNat(cluster, announced, outside, server, [cluster.keys(number, 1)[0] for number in range(2)])


@pytest.fixture
def nat(new_cluster: NewCluster) -> Iterator[BehindNat]:
    """A cluster behind NAT, ready."""
    with ExitStack() as held:
        made = behind_nat(new_cluster, held)
        made.cluster.wait_ready()
        yield made


def blocking(server: str, keys: list[str], **how: Any) -> list[int]:
    """The blocking client."""
    with Pyshard(server, **how) as app:
        return [app.increment(key) for key in keys]


def pickled(server: str, keys: list[str], **how: Any) -> list[int]:
    """The blocking client, pickled on the way."""
    with Pyshard(server, **how) as app, pickle.loads(pickle.dumps(app)) as again:
        return [again.increment(key) for key in keys]


def deferred(server: str, keys: list[str], **how: Any) -> list[int]:
    """The Deferred client."""

    async def increment(client: Client) -> list[int]:
        return [await client.increment(key) for key in keys]

    return run_deferred(server, lambda client: Deferred.fromCoroutine(increment(client)), **how)


def asynchronous(server: str, keys: list[str], **how: Any) -> list[int]:
    """The asyncio client, by what was pickled on the way."""

    async def main() -> list[int]:
        async with pickle.loads(pickle.dumps(aio.connect(server, **how))) as client:
            return [await client.increment(key) for key in keys]

    return asyncio.run(main())


FACES: list[Face] = [blocking, pickled, deferred, asynchronous]


@pytest.mark.long
def test_who_gets_in(nat: BehindNat) -> None:
    """All clients get in by the mapping, as an argument, in a URL, in the environment and in the command's option."""
    addresses = nat.addresses()
    count = 0
    for face in FACES:
        count += 1
        assert face(nat.server, nat.keys, addresses=addresses, deadline=PATIENCE) == [count, count], face
    query = "&".join(f"address={announced}={dialed}" for announced, dialed in addresses.items())
    assert blocking(f"pyshard://{nat.server}?{query}", nat.keys) == [count + 1, count + 1]
    pyshard = shell_on(nat.server, nat.cluster.environment, nat.cluster.folder)
    variable = ",".join(f"{announced}={dialed}" for announced, dialed in addresses.items())
    options = " ".join(f"--address {announced}={dialed}" for announced, dialed in addresses.items())
    for line in (
        f"PYSHARD_ADDRESSES={variable} pyshard cat",
        f"pyshard {options} cat",
        f"pyshard cat {options}",
        f"PYSHARD_BOOTSTRAP='pyshard://{nat.server}?{query}' pyshard cat",
    ):
        code, out, error = pyshard(line)
        assert (code, sorted(out.splitlines()), error) == (0, sorted(f"{key}|{count + 1}" for key in nat.keys), "")
    code, out, _ = pyshard(f"pyshard {options} stat --json")  # by the Deferred or the blocking client
    assert (code, [shard["address"] for shard in json.loads(out)["shards"]]) == (0, nat.announced)
    assert pyshard(f"pyshard {options} backup monday")[0] == 0
    assert all(forwarder.connections for forwarder in nat.outside)


@pytest.mark.long
def test_who_does_not_get_in(nat: BehindNat) -> None:
    """Without the mapping the error names the address that was dialed; with a wrong one, both."""
    nowhere = f"{HOST}:{free_port()}"
    wrong = {nat.announced[0]: nowhere}
    for face in FACES:
        with pytest.raises(Unavailable) as refused:
            face(nat.server, nat.keys, deadline=1)
        assert f"shard 'a' at {nat.announced[0]} could not answer" in str(refused.value)
        assert "connection refused" in str(refused.value)
        with pytest.raises(Unavailable) as refused:
            face(nat.server, nat.keys, addresses=wrong, deadline=1)
        assert f"shard 'a' at {nat.announced[0]} (dialed at {nowhere}) could not answer" in str(refused.value)
    command = ["--bootstrap", nat.server, "--deadline=1", "read", nat.keys[0]]
    ran = run(nat.cluster.folder, nat.cluster.environment, sys.executable, "-m", "pyshard.cli", *command)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert f"shard 'a' at {nat.announced[0]} could not answer" in ran.stderr
    assert not any(forwarder.connections for forwarder in nat.outside)


def test_tls(new_cluster: NewCluster, tmp_path: Path) -> None:
    """The certificate must be for the host that is dialed: the one of the mapping."""
    made = Certificates(tmp_path)
    with ExitStack() as held:
        daemon = made.issue("address", HOST)
        options = [f"--tls-ca={daemon.ca}", f"--tls-certificate={daemon.certificate}", f"--tls-key={daemon.key}"]
        nat = behind_nat(new_cluster, held, *options)
        files = made.client
        with Pyshard(nat.server, tls=files, deadline=PATIENCE) as app:
            until(lambda: {shard["state"] for shard in app.readiness()} == {"ready"}, "the shards are ready")
        for count, face in enumerate(FACES, 1):
            assert face(nat.server, nat.keys, tls=files, addresses=nat.addresses()) == [count, count], face
            refused = _refusal(face, nat, files)
            assert isinstance(refused, NotTrusted)
            other = nat.addresses("localhost")[nat.announced[0]]
            assert f"shard 'a' at {nat.announced[0]} (dialed at {other}): " in str(refused)
            assert re.search(r"certificate (is for 127\.0\.0\.1, not|isn't) for localhost", str(refused))


def _refusal(face: Face, nat: BehindNat, files: Tls) -> PyshardError:
    with pytest.raises(PyshardError) as refused:
        face(nat.server, nat.keys, tls=files, addresses=nat.addresses("localhost"), deadline=PATIENCE)
    return refused.value


@pytest.mark.long
def test_up(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """`up` has daemons listen where the config file says; what it prints works, though nobody is where it announces."""
    ports = [free_port() for _ in range(6)]
    shards = [
        {"name": name, "start": start, "end": start + 0.5, "size": 1 << 30, "host": HOST, "port": port, "listen": where}
        for name, start, port, where in (
            ("a", 0.0, ports[0], f"{HOST}:{ports[1]}"),
            ("b", 0.5, ports[2], f"tcp:{ports[3]}:interface={HOST}"),
        )
    ]
    bootstrap = {"host": HOST, "port": ports[4], "listen": f"localhost:{ports[5]}"}
    (tmp_path / "shards.json").write_text(json.dumps({"shards": shards, "bootstrap": bootstrap}))
    elsewhere = {**environment, "PYSHARD_ADDRESSES": "nonsense, and none of its business"}
    up = Up(tmp_path, elsewhere, "--config=shards.json", "--run-dir=run", configured=False)
    try:
        up.wait_ready()
        pids = up.pids()
        (export,) = re.findall(r"export PYSHARD_ADDRESSES=\S+", up.text())
        pyshard = shell_on(f"localhost:{ports[5]}", environment, tmp_path)
        assert pyshard(f"{export} && pyshard write test 1 && pyshard write test1 1") == (0, "28\n28\n", "")
        assert f"pyshard write --bootstrap localhost:{ports[5]} KEY DOC" in up.text()
        code, _, error = pyshard("pyshard --deadline 1 read test")
        assert code == 3
        assert f"{HOST}:{ports[0]} could not answer" in error
    finally:
        if up.process.poll() is None:
            up.process.send_signal(signal.SIGTERM)
        up.process.wait(PATIENCE)
        sys.stdout.write(up.text())
    assert [pid for pid in pids if not gone(pid)] == []
