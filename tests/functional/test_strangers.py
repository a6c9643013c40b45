"""Strangers: peers that speak another protocol, another cluster's bootstrap, a shard at a wrong address."""

from __future__ import annotations

import random
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest
from functional.cluster import HOST, Cluster, Daemon, NewCluster, until
from twisted.protocols.amp import AmpBox

from pyshard import Pyshard
from pyshard.errors import Unavailable

pytestmark = pytest.mark.functional


def client_hello() -> bytes:
    """What a TLS client sends first."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


_BROKEN = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": client_hello(),
    "random": random.Random(5050).randbytes(100_000),
    "empty box": b"\x00\x00",
    "too many keys": b"".join(b"\x00\x04k%03d\x00\x01v" % number for number in range(400)),
    "no answer wanted": AmpBox(_command=b"Ping").serialize(),
    "answer to nothing": AmpBox(_answer=b"1").serialize(),
    "error to nothing": AmpBox(_error=b"1", _error_code=b"X", _error_description=b"x").serialize(),
}


def shards_of(app: Pyshard) -> list[dict[str, Any]]:
    """What stat says of each shard."""
    shards = app.stat()["shards"]
    assert isinstance(shards, list)
    return shards


def connections(app: Pyshard) -> list[set[str]]:
    """For each shard the ids of its connections."""
    return [{connection["id"] for connection in shard["connections"]} for shard in shards_of(app)]


def closed_after(daemon: Daemon, sent: bytes) -> bytes:
    """Send bytes to a daemon and wait until it closes; what it answered."""
    received = b""
    with socket.create_connection((HOST, daemon.port), timeout=10) as stranger:
        try:
            stranger.sendall(sent)
            while data := stranger.recv(65536):
                received += data
        except ConnectionError:
            pass
    return received


def resident(daemon: Daemon) -> int:
    """Bytes of memory that a daemon's process has."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


def test_a_peer_that_never_reads(cluster: Cluster) -> None:
    """Who asks for a thousand large documents and reads no answer fills nothing, and holds up nobody else.

    When he reads after all, every answer comes.
    """
    cluster.start()
    key, daemon = cluster.keys(0, 1)[0], cluster.shards[0]
    batch = msgspec.msgpack.encode([["read", "", [key.encode()]]])
    asking = [
        AmpBox({b"_command": b"Apply", b"_ask": b"%d" % n, b"epoch": b"0", b"batch": b"1", b"batch.0": batch})
        for n in range(1000)
    ]
    with Pyshard(cluster.server) as app, socket.socket() as stranger:
        app.write(key, b"x" * 300_000)
        before = resident(daemon)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stranger.connect((HOST, daemon.port))
        stranger.sendall(b"".join(box.serialize() for box in asking))
        for _ in range(20):
            assert app.has(key)
        assert resident(daemon) - before < 64 * 1024 * 1024
        assert len(shards_of(app)[0]["connections"]) == 3
        stranger.settimeout(10)
        wanted = 1000 * 300_000
        while wanted > 0:
            wanted -= len(stranger.recv(1 << 20))


@pytest.mark.parametrize("kind", _BROKEN)
def test_broken_protocol(shared: Cluster, kind: str) -> None:
    """A peer that breaks the protocol loses its own connection, with a line in the log; all others stay."""
    with Pyshard(shared.server) as app:
        app.write("test", "hello world")
        app.write("test1", "hello world")
        until(lambda: all(len(each) == 2 for each in connections(app)), "only the bootstrap and this client are there")
        before = connections(app)
        for daemon in shared.daemons:
            logged = len(daemon.log())
            assert closed_after(daemon, _BROKEN[kind]) == b""
            until(lambda: "the peer broke the protocol" in daemon.log()[logged:], "it is logged")  # noqa: B023
        assert connections(app) == before
        assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
        assert app.read("test1") == {"hash_": 0.8204544, "record": "hello world"}


def test_half_a_box(shared: Cluster) -> None:
    """A box that isn't finished holds up nobody, and nothing of it is left when its sender goes."""
    half = AmpBox(_ask=b"1", _command=b"Ping", argument=b"x" * 60_000).serialize()[:-30_000]
    with Pyshard(shared.server) as app:
        app.write("test", "hello world")
        for daemon in shared.daemons:
            with socket.create_connection((HOST, daemon.port)) as stranger:
                stranger.sendall(half)
                assert [one["state"] for one in app.readiness()] == ["ready", "ready"]
                assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
        until(lambda: all(len(each) <= 2 for each in connections(app)), "the strangers are gone")


def test_unknown_command(shared: Cluster) -> None:
    """A command that a daemon doesn't know is answered as such, and the connection stays."""
    ask = AmpBox(_ask=b"1", _command=b"Flush").serialize() + AmpBox(_ask=b"2", _command=b"Ping").serialize()
    for daemon in shared.daemons:
        with socket.create_connection((HOST, daemon.port), timeout=10) as peer:
            peer.sendall(ask)
            received = b""
            while not received.endswith(AmpBox(_answer=b"2").serialize()):
                received += peer.recv(65536)
        assert b"UNHANDLED" in received


def test_half_closed_by_the_client(shared: Cluster) -> None:
    """A peer that ends its sending side alone has ended the connection: a daemon sends it no answer any more."""
    ask = AmpBox(_ask=b"1", _command=b"Ping").serialize()
    for daemon in shared.daemons:
        with socket.create_connection((HOST, daemon.port), timeout=10) as peer:
            peer.sendall(ask)
            answer = AmpBox(_answer=b"1").serialize()
            assert peer.recv(len(answer), socket.MSG_WAITALL) == answer
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(65536) == b""


def test_foreign_shard(new_cluster: NewCluster) -> None:
    """A shard that another cluster has configured is refused and reported, and serves its own cluster on."""
    owner, other = new_cluster(), new_cluster()
    owner.start()
    with Pyshard(owner.server) as app:
        app.create_index("pages")
        app.write("test", "hello world")
        app.write("test1", "hello world", "pages")
        before = [(shard["id"], shard["name"], shard["epoch"], shard["documents"]) for shard in shards_of(app)]

        other.config[0]["port"] = owner.shards[0].port
        other.write_config()
        other.bootstrap.start()
        other.shards[1].start()
        refused, ready = other.wait_states("refused", "ready")
        assert f"the shard at {HOST}:{owner.shards[0].port} belongs to another cluster" in refused["detail"]
        assert ready["detail"] == ""
        assert "belongs to another cluster" in other.bootstrap.log()
        with Pyshard(other.server) as stranger, pytest.raises(Unavailable):
            stranger.write("test", "overwritten", deadline=0.5)

        after = [(shard["id"], shard["name"], shard["epoch"], shard["documents"]) for shard in shards_of(app)]
        assert after == before
        assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
        found = app.read("test1", "pages")
        assert found is not None
        assert found["record"] == "hello world"
    owner.wait_ready()


@pytest.mark.long
def test_swapped_addresses(cluster: Cluster) -> None:
    """Two shards whose addresses are swapped in the config file are refused, until the file is right again."""
    keys = [cluster.keys(number, 1)[0] for number in range(2)]
    with Pyshard(cluster.server) as app:
        for key in keys:
            app.write(key, key)
    one, two = cluster.config
    for states in (["refused", "refused"], ["ready", "ready"]):
        cluster.bootstrap.end()
        one["port"], two["port"] = two["port"], one["port"]
        cluster.write_config()
        cluster.bootstrap.start()
        for number, found in enumerate(cluster.wait_states(*states)):
            mine, others = cluster.config[number], cluster.config[1 - number]
            assert found["address"] == f"{HOST}:{mine['port']}"
            if found["state"] == "refused":
                said = f"shard '{others['name']}' answers at {found['address']}, where shard '{mine['name']}' should be"
                assert said in found["detail"]
                assert said in cluster.bootstrap.log()
        with Pyshard(cluster.server) as app:
            for key in keys:
                if states[0] == "refused":
                    with pytest.raises(Unavailable):
                        app.read(key, deadline=0.5)
                else:
                    assert app.read(key) is not None


def test_bootstrap_in_a_shards_place(new_cluster: NewCluster) -> None:
    """A shard's address at which a bootstrap answers, be it this one itself, is refused."""
    cluster = new_cluster(1)
    cluster.config[0]["port"] = cluster.bootstrap.port
    cluster.write_config()
    cluster.bootstrap.start()
    (refused,) = cluster.wait_states("refused")
    assert refused["detail"] == f"a bootstrap answers at {cluster.server}, where shard 'a' should be"
