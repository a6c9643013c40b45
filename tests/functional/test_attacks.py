"""Attacks with allowed boxes on real daemons: what they cost others, who are at work meanwhile.

On a quiet machine others wait less than 0.3 s. Before turns, bounded pages and bounds for strangers each of these made
them wait for several seconds, but for the connections that redial. With ``pytest -s`` the figures are printed. The
environment variable PYSHARD_TEST_ATTACKS makes each attack so many times as large.
"""

from __future__ import annotations

import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path

import pytest
from functional.attacks import LONGEST, MORE, apply, at_once, command, exchange
from functional.cluster import HOST, PATIENCE, Cluster, Daemon, NewCluster
from functional.honest import honest_clients
from functional.replicated_cluster import NewReplicatedCluster

from pyshard.bootstrap import state_file
from pyshard.model import document_encoding
from pyshard.model.key_slots import SLOTS, slots_of
from pyshard.protocol.batch_operations import Has, Pop, Read, ReadItem, Write
from pyshard.protocol.boxes import Box, BoxParser, Limits

pytestmark = pytest.mark.functional

#: Connections of one address that say nothing, nearly as many as it may have.
CONNECTIONS = 3900

#: Bytes of memory that the answers to one connection may take, as docs/limits.md says.
ANSWERS = 150 * 1024 * 1024
NONE = document_encoding.encode(None)[0]


def keys_from(slot: int) -> bytes:
    """The bytes of a question for a page of keys."""
    return command("Keys", epoch=b"0", index=b"", slot=b"%d" % slot)


def store(daemon: Daemon, keys: list[bytes], ends: float | None = None) -> None:
    """Store nothing under each of these keys.

    :param ends: when they all expire, by `time.monotonic`; None: never.
    """
    for begin in range(0, len(keys), 2000):  # as many as one batch may give a time to live
        part = keys[begin : begin + 2000]
        ttl = None if ends is None else [max(1, int((ends - time.monotonic()) * 1000))] * len(part)
        (answer,) = exchange(daemon, apply(Write("", part, [NONE] * len(part), None, ttl)), 1)
        assert b"answers" in answer


@pytest.fixture(params=[pytest.param(False, marks=pytest.mark.long), True], ids=["memory", "durable"])
def attacked(request: pytest.FixtureRequest, new_cluster: NewCluster) -> Cluster:
    """A cluster of one shard."""
    made = new_cluster(1, durable=request.param)
    made.start()
    return made


def test_pages_over_what_has_expired(attacked: Cluster) -> None:
    """Questions for keys, over many records that have expired together, take from the others what others take."""
    (daemon,) = attacked.shards
    ends = time.monotonic() + 2.5 + MORE
    store(daemon, [b"%d" % number for number in range(20_000 * MORE)], ends)
    with honest_clients(attacked) as seen:
        time.sleep(max(0.0, ends + 0.1 - time.monotonic()))
        answers = exchange(daemon, b"".join(keys_from(0) for _ in range(100)), 100)
        assert all(b"keys" in one for one in answers)
    seen.tell("expired keys")
    assert seen.waited_in_time(LONGEST), seen


def test_changes_that_wait_for_the_disk(new_cluster: NewCluster) -> None:
    """Who has hundreds of thousands of changes wait doesn't have the changes of others wait behind them."""
    cluster = new_cluster(1, durable=True)
    cluster.start()
    (daemon,) = cluster.shards
    batch = [b"%d" % number for number in range(10_000)]
    with honest_clients(cluster) as seen:
        at_once(daemon, apply(Write("", batch, [NONE] * len(batch))), 1, 40 * MORE)
    seen.tell("changes")
    assert seen.beside > 0
    assert seen.waited_in_time(LONGEST), seen


@pytest.mark.long
def test_snapshots_of_what_has_expired(attacked: Cluster) -> None:
    """Who opens and reads snapshots all the time, over many expired records, leaves others most of the time."""
    (daemon,) = attacked.shards
    ends = time.monotonic() + 6 * MORE
    store(daemon, [b"%d" % number for number in range(50_000 * MORE)], ends)
    opened = 0
    with (
        socket.create_connection((HOST, daemon.port), timeout=PATIENCE) as peer,
        honest_clients(attacked) as seen,
    ):
        time.sleep(max(0.0, ends + 0.1 - time.monotonic()))
        ends = time.monotonic() + 1 + MORE
        while time.monotonic() < ends:
            peer.sendall(command("OpenSnapshot"))
            snapshot = next_box(peer)[b"snapshot"]
            peer.sendall(command("ReadSnapshot", snapshot=snapshot))
            assert b"rows" in next_box(peer)
            peer.sendall(command("CloseSnapshot", snapshot=snapshot))
            next_box(peer)
            opened += 1
    seen.tell(f"{opened} snapshots")
    assert seen.waited_in_time(LONGEST), seen


def next_box(peer: socket.socket) -> Box:
    """The next answer on a connection, on which there is none behind it."""
    parser = BoxParser(Limits(keys=1000, size=1 << 30))
    while True:
        received = peer.recv(1 << 20)
        assert received
        parser.feed(received)
        box = parser.next_box()
        if box is not None:
            return box


def crowded(slot: int) -> Iterator[bytes]:
    """Keys of the bucket that ends with a slot, but for the slot itself."""
    for begin in count(0, 10_000):
        some = [b"%d" % number for number in range(begin, begin + 10_000)]
        yield from (key for key, own in zip(some, slots_of(some), strict=True) if slot - 8191 <= own < slot)


def test_pages_of_the_last_slot(new_cluster: NewCluster) -> None:
    """A thousand empty pages of a slot beside many keys don't have these keys put in order each time."""
    cluster, slot = new_cluster(2), 8192 * 600 - 1
    cluster.config[0]["end"] = cluster.config[1]["start"] = (slot + 1) / SLOTS
    cluster.write_config()
    cluster.start()
    daemon = cluster.shards[0]
    store(daemon, list(islice(crowded(slot), 1500)))
    with honest_clients(cluster) as seen:
        answers = exchange(daemon, b"".join(keys_from(slot) for _ in range(1000 * MORE)), 1000 * MORE)
        assert {one[b"keys.0"] for one in answers} == {b"\x90"}
    seen.tell("the last slot")
    assert seen.waited_in_time(LONGEST), seen


def test_conditions_on_large_documents(new_cluster: NewCluster) -> None:
    """Hundreds of conditions that aren't met copy nothing of the documents that they are about."""
    attacked = new_cluster(1)
    attacked.start()
    (daemon,) = attacked.shards
    big = document_encoding.encode("x" * (16 * 1024 * 1024 - 100))[0]
    exchange(daemon, apply(Write("", [b"big"], [big])), 1)
    with honest_clients(attacked) as seen:
        answers = exchange(daemon, b"".join(apply(Pop("", [b"big"], [1])) for _ in range(500 * MORE)), 500 * MORE)
        assert len(answers) == 500 * MORE
    seen.tell("conditions")
    assert seen.waited_in_time(LONGEST), seen


@pytest.mark.long
def test_batches_across_boxes(attacked: Cluster) -> None:
    """Forty peers that each send many batches at once are served in turn, and others in between."""
    (daemon,) = attacked.shards
    batch = Has("", [b"%d" % number for number in range(100)])
    with honest_clients(attacked) as seen:
        at_once(daemon, b"".join(apply(batch) for _ in range(150 * MORE)), 150 * MORE, 40)
    seen.tell("batches")
    assert seen.waited_in_time(LONGEST), seen


@pytest.mark.long
def test_statistics_of_many_connections(new_cluster: NewCluster) -> None:
    """Who asks for statistics all the time, beside thousands of connections, leaves the others most of their rate."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files[1] < CONNECTIONS + 500:
        pytest.skip(f"the system allows {files[1]:,} open files, the test needs {CONNECTIONS + 500:,}")
    cluster = new_cluster(1)
    cluster.start()
    (daemon,) = cluster.shards
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, files)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(files[0], CONNECTIONS + 500), files[1]))
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection((HOST, daemon.port), timeout=PATIENCE))
        seen, ends, answered = stack.enter_context(honest_clients(cluster)), time.monotonic() + 1 + MORE, 0
        while time.monotonic() < ends or answered <= 10:
            answered += len(exchange(daemon, b"".join(command("Stat") for _ in range(10)), 10))
    seen.tell(f"{answered:,} statistics")
    assert answered > 10
    assert seen.waited_in_time(LONGEST), seen


# -- memory ---------------------------------------------------------------------------------------------------------


class Memory:
    """How much more memory a process has than now, at the most: its own, without files that it maps.

    :ivar most: so many bytes.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._before = self._bytes()
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _bytes(self) -> int:
        (line,) = [line for line in self._status.read_text().splitlines() if line.startswith("RssAnon:")]
        return int(line.split()[1]) * 1024

    def _look(self) -> None:
        while not self._over.wait(0.002):
            self.most = max(self.most, self._bytes() - self._before)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells how much memory a process has for itself")
def test_answers_of_large_documents(attacked: Cluster) -> None:
    """A few bytes on one connection that ask for many large documents never have a shard hold many of them."""
    (daemon,) = attacked.shards
    big = document_encoding.encode("x" * (16 * 1024 * 1024 - 100))[0]
    keys = [b"%d" % number for number in range(12 * MORE)]
    for verb, reads in ((Read, True), (ReadItem, False), (Pop, False), (Pop, True)):
        for key in keys:
            exchange(daemon, apply(Write("", [key], [big])), 1)
        with Memory(daemon.pid) as memory, socket.create_connection((HOST, daemon.port), timeout=PATIENCE) as peer:
            peer.sendall(b"".join(apply(verb("", [key])) for key in keys))
            left = len(keys) * len(big) if reads else 1
            while left > 0:
                left -= len(peer.recv(1 << 20))
            time.sleep(0 if reads else 1)
        sys.stdout.write(f"\n{verb.__name__}: {memory.most / 1e6:,.0f} MB for answers\n")
        assert memory.most < ANSWERS


@pytest.mark.parametrize(
    "durable", [pytest.param(False, id="memory"), pytest.param(True, marks=pytest.mark.long, id="durable")]
)
def test_large_changes_at_replicas(new_replicated_cluster: NewReplicatedCluster, durable: bool) -> None:
    """Who has large changes wait at a shard with replicas doesn't have others' small ones wait behind them all."""
    cluster = new_replicated_cluster(replicas=2, lease=3.0, durable=durable)
    cluster.start()
    state = state_file.load(cluster.folder / "etc" / "shards.state")
    assert state is not None
    primary, batch = cluster.primary(), [b"%d" % number for number in range(10_000)]
    with honest_clients(cluster) as seen:
        at_once(primary, apply(Write("", batch, [NONE] * len(batch)), epoch=state.epoch), 1, 8 * MORE)
    seen.tell("large changes at replicas")
    assert seen.waited_in_time(LONGEST), seen
    assert cluster.primary() is primary
