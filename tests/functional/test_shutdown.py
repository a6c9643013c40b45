"""Daemons that are stopped by a signal: exit code 0 within 10 s, and no client gets a wrong answer."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest
from functional.cluster import HOST, PATIENCE, Cluster, Daemon, NewCluster
from functional.deferred_calls import run_deferred
from functional.load import Load

from pyshard import Pyshard
from pyshard.client.backup_client import BackupClient
from pyshard.model.document_encoding import encode
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import answers_in
from pyshard.protocol.batch_answers import decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Increment, Run
from pyshard.protocol.boxes import Box, BoxParser, Limits, serialize

pytestmark = pytest.mark.functional

_BOUND = 10.0  # seconds that a stop may take: a promise


def ends_in_order(daemon: Daemon, *signals: int) -> None:
    """Send a daemon signals; it must end with exit code 0 in time."""
    began = time.monotonic()
    for number in signals or (signal.SIGTERM,):
        daemon.send(number)
    assert daemon.wait() == 0
    assert time.monotonic() - began < _BOUND
    assert "Server Shut Down" in daemon.log()


def box(command: bytes, tag: int, **arguments: bytes) -> bytes:
    """The bytes of a command."""
    named = {name.encode(): value for name, value in arguments.items()}
    return serialize({b"_command": command, b"_ask": b"%d" % tag, **named})


@pytest.mark.parametrize("durable", [True, pytest.param(False, marks=pytest.mark.long)], ids=["durable", "memory"])
def test_under_load(new_cluster: NewCluster, durable: bool) -> None:
    """Stopped under full load and started again, each daemon in turn: no operation fails, hangs or is unknown.

    Whatever a durable shard acknowledged is there; every counter is what was acknowledged, exactly.
    """
    cluster = new_cluster(durable=durable)
    cluster.start()
    load = Load(cluster, durable)
    load.start()
    for daemon in [cluster.shards[0], cluster.bootstrap]:
        load.wait_for_work()
        ends_in_order(daemon)
        daemon.start()
        cluster.wait_ready()
    load.wait_for_work()
    load.stop()
    assert load.troubles == {}


@pytest.mark.long
def test_a_peer_that_sends_on(new_cluster: NewCluster) -> None:
    """A peer that knows nothing of `GoAway`, and sends without end, has an answer for each change that was made.

    So a connection is never reset with answers on their way, nor is anything done that isn't answered any more.
    """
    cluster = new_cluster(1, durable=True)
    cluster.start()
    amount, _ = encode(1)
    runs: list[Run] = [Increment("", [b"count"], [amount], [encode(0)[0]])]
    batch = encode_runs(runs)
    answered, refused = 0, 0
    with socket.create_connection((HOST, cluster.shards[0].port), PATIENCE) as peer:

        def send() -> None:
            tag = 0
            try:
                while True:
                    tag += 1
                    peer.sendall(box(b"Apply", tag, epoch=b"0", batch=b"1", **{"batch.0": batch}))
            except OSError:
                return  # it is closed

        sending = threading.Thread(target=send)
        sending.start()
        parser, stopped = BoxParser(Limits()), False
        while data := peer.recv(1 << 16):
            parser.feed(data)
            found: Box | None
            while (found := parser.next_box()) is not None:
                if b"_answer" in found:
                    decode_answers(answers_in(found), runs)
                    answered += 1
                elif b"_command" in found:
                    assert found[b"_command"] == b"GoAway"
                else:
                    assert found[b"_error_code"] == b"SHUTTING_DOWN"
                    refused += 1
            if answered > 200 and not stopped:
                stopped = True
                cluster.shards[0].send(signal.SIGTERM)
        peer.shutdown(socket.SHUT_RDWR)
        sending.join(PATIENCE)
    assert cluster.shards[0].wait() == 0
    assert refused > 0
    cluster.start()
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        assert app.read("count") == {"hash_": pytest.approx(0.5, abs=0.5), "record": answered}


@pytest.mark.long
def test_bad_company(new_cluster: NewCluster) -> None:
    """Connections that peers leave open delay a stop only within its bounds.

    A half box, a peer that never reads its answers, silent peers, an open snapshot, an idle client, a second signal.
    """
    cluster = new_cluster(1)
    cluster.start()
    shard = cluster.shards[0]
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        app.write("large", b"x" * 1_000_000)
        run_deferred(
            cluster.server, lambda client: BackupClient(client).shards[0].call(commands.OpenSnapshot, PATIENCE)
        )
        with (
            socket.create_connection((HOST, shard.port), PATIENCE) as half,
            socket.create_connection((HOST, shard.port), PATIENCE) as deaf,
            socket.create_connection((HOST, shard.port), PATIENCE),
        ):
            half.sendall(box(b"Ping", 1)[:-1])
            deaf.settimeout(1)
            questions = b"".join(box(b"Stat", tag) for tag in range(500_000))
            with pytest.raises(TimeoutError):
                deaf.sendall(questions)
            ends_in_order(shard, signal.SIGTERM, signal.SIGTERM)
        shard.start()
        assert app.read("large") is None


@pytest.mark.long
def test_idle(cluster: Cluster) -> None:
    """SIGINT, twice, ends daemons in order, too; clients that were idle meanwhile go on as if nothing had been."""
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        keys = [cluster.keys(0, 1)[0], cluster.keys(1, 1)[0]]
        for key in keys:
            app.write(key, 1)
        for daemon in cluster.daemons:
            ends_in_order(daemon, signal.SIGINT, signal.SIGINT)
            daemon.start()
            daemon.wait_listening()
        for key in keys:
            assert app.increment(key) == 1  # new ones, in memory


def test_while_it_starts(new_cluster: NewCluster) -> None:
    """A signal that comes at any moment of a daemon's start ends it, and the next start finds nothing in its way."""
    cluster = new_cluster(1, durable=True)
    shard = cluster.shards[0]
    for number in range(4):
        shard.start()
        time.sleep(0.15 * number)
        assert shard.end() in (0, -signal.SIGTERM)  # the latter before Python has come to pyshard
    cluster.start()
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        assert app.write("test", 1) == 28
