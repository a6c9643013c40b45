"""Attacks with allowed boxes on real daemons: what they cost others, who are at work meanwhile.

On a quiet machine others wait less than 0.3 s. Before turns, bounded pages and bounds for strangers each of these made
them wait for several seconds, but for the connections that redial. With ``pytest -s`` the figures are printed. The
environment variable PYSHARD_TEST_ATTACKS makes each attack so many times as large.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count, islice
from pathlib import Path

import pytest
from functional.cluster import HOST, PATIENCE, Cluster, Daemon, NewCluster
from functional.honest import honest_clients

from pyshard.model import document_encoding
from pyshard.model.key_slots import SLOTS, slots_of
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Pop, Read, ReadItem, Run, Write
from pyshard.protocol.boxes import Box, BoxParser, Limits, serialize
from pyshard.protocol.chunked_arguments import put_chunks
from pyshard.settings import settings

pytestmark = pytest.mark.functional

#: How many times as large as in CI the attacks are.
MORE = int(os.environ.get("PYSHARD_TEST_ATTACKS", "1"))

#: Seconds that others may wait: more than the 0.3 s of a quiet machine, for one that is busy. See `waited_in_time`.
LONGEST = 1.5

#: Connections of one address that say nothing, nearly as many as it may have.
CONNECTIONS = 3900

#: Bytes of memory that the answers to one connection may take, as docs/limits.md says.
ANSWERS = 150 * 1024 * 1024

NONE = document_encoding.encode(None)[0]

_tags = count(1)


def command(name: str, **arguments: bytes) -> bytes:
    """The bytes of a command."""
    values = {key.encode(): value for key, value in arguments.items()}
    return serialize({b"_command": name.encode(), b"_ask": b"%d" % next(_tags), **values})


def apply(*runs: Run) -> bytes:
    """The bytes of a batch."""
    box: Box = {b"_command": b"Apply", b"_ask": b"%d" % next(_tags), b"epoch": b"0"}
    put_chunks(box, b"batch", encode_runs(list(runs)))
    return serialize(box)


def keys_from(slot: int) -> bytes:
    """The bytes of a question for a page of keys."""
    return command("Keys", epoch=b"0", index=b"", slot=b"%d" % slot)


def exchange(daemon: Daemon, data: bytes, answers: int) -> list[Box]:
    """Send bytes on a connection of their own, and read so many boxes, or until the daemon closes."""
    parser, found = BoxParser(Limits(keys=1000, size=1 << 30)), list[Box]()
    with suppress(ConnectionError), socket.create_connection((HOST, daemon.port), timeout=2 * PATIENCE) as peer:
        sending = threading.Thread(target=lambda: send(peer, data))
        sending.start()
        while len(found) < answers and (received := peer.recv(1 << 20)):
            parser.feed(received)
            while (box := parser.next_box()) is not None:
                found.append(box)
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
        sending.join()
    return found


def send(peer: socket.socket, data: bytes) -> None:
    """Send what the daemon may not take."""
    with suppress(OSError):
        peer.sendall(data)


def at_once(daemon: Daemon, data: bytes, answers: int, connections: int) -> None:
    """Send the same bytes on many connections at a time."""
    threads = [threading.Thread(target=exchange, args=(daemon, data, answers)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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


# -- strangers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(new_cluster: NewCluster, tmp_path: Path) -> Cluster:
    """A cluster of one shard, with a token file."""
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text("admin the-secret-of-an-admin\n")
    made = new_cluster(1, token_file=tokens)
    made.start()
    return made


@pytest.mark.parametrize("connections", [pytest.param(40, marks=pytest.mark.long), 200])
def test_strangers_that_ask(guarded: Cluster, connections: int) -> None:
    """Strangers with thousands of boxes each are answered a few, and cut off."""
    (daemon,) = guarded.shards
    pings = b"".join(command("Ping") for _ in range(4000))
    with honest_clients(guarded, guarded.token_file) as seen:
        at_once(daemon, pings, 4000, connections)
    seen.tell(f"{connections} strangers")
    assert seen.waited_in_time(LONGEST), seen


@pytest.mark.long
def test_strangers_that_dial_again_and_again(guarded: Cluster) -> None:
    """A hundred that redial all the time don't make a shard useless, and have few lines in its log."""
    (daemon,) = guarded.shards
    dialed: list[None] = []

    def redial(ends: float) -> None:
        ping, last = command("Ping"), ends + PATIENCE
        while time.monotonic() < ends or (len(dialed) <= 100 and time.monotonic() < last):
            with suppress(OSError), socket.create_connection((HOST, daemon.port), timeout=5) as peer:
                peer.sendall(ping)
                dialed.append(None)

    logged, began = len(daemon.log()), time.monotonic()
    with honest_clients(guarded, guarded.token_file) as seen:
        ends = time.monotonic() + 1 + MORE
        threads = [threading.Thread(target=redial, args=(ends,)) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seconds, times = time.monotonic() - began, len(dialed)
    seen.tell(f"{times:,} times dialed")
    assert times > 100
    assert seen.waited_in_time(LONGEST), seen
    # Some 200 lines at once, and 20 in each second.
    assert daemon.log()[logged:].count("\n") < 250 + settings.CONNECTION_LINES * seconds


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
