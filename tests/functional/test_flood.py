"""Floods of malformed boxes: real daemons and clients keep answering, and need no more memory.

`PYSHARD_TEST_BOXES` says how many (CONTRIBUTING.md); with ``pytest -s`` the figures are printed.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import cycle, islice
from pathlib import Path
from random import Random

import pytest
from functional.cluster import HOST, PATIENCE, Cluster, Daemon, NewCluster
from fuzzing import Hostile
from owed_answers import owed

from pyshard import Pyshard
from pyshard.protocol.boxes import Box, BoxParser, Limits, serialize

pytestmark = pytest.mark.functional

BOXES = int(os.environ.get("PYSHARD_TEST_BOXES", "5000"))
MOST_GROWTH = 32 * 1024 * 1024
CHUNK = 500  # boxes that are sent at a time


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


def chunks(seed: int, boxes: int = CHUNK) -> Iterator[tuple[bytes, list[bytes]]]:
    """For ever: bytes of so many commands that are answered, each in its own wrong way; and their tags."""
    who = Hostile(Random(seed))
    made: list[tuple[bytes, list[bytes]]] = []
    while True:
        data, count = b"", 0
        while count < boxes:
            box = who.command()
            if len(box) < 2000 and len(owed(box, Limits()).tags) == 1 and b"Configure" not in box:
                data, count = data + box, count + 1
        made.append((data, owed(data, Limits()).tags))
        yield made[-1]
        for _ in range(len(made) // 2):  # to send them is what takes the time, not to make them
            yield who.random.choice(made)


def exchange(peer: socket.socket, data: bytes, answers: int) -> None:
    """Send bytes and read so many boxes."""
    parser, sent = BoxParser(Limits(keys=1000, size=1 << 30)), 0
    while parser.boxes < answers or sent < len(data):
        readable, writable, _ = select.select([peer], [peer] if sent < len(data) else [], [], PATIENCE)
        assert readable or writable, f"{parser.boxes} of {answers} answers came"
        if writable:
            sent += peer.send(data[sent : sent + 65_536])
        if readable:
            received = peer.recv(1 << 20)
            assert received, "the daemon closed the connection"
            parser.feed(received)
            while parser.next_box() is not None:
                pass


def flood(daemon: Daemon, boxes: int, seed: int) -> int:
    """Send a daemon malformed boxes that it answers, on connections each of which ends with a box that is none."""
    who, sent = Hostile(Random(seed)), 0
    for data, tags in chunks(seed):
        if sent >= boxes:
            return sent
        with closing(socket.create_connection((HOST, daemon.port))) as peer:
            peer.setblocking(False)
            exchange(peer, data, len(tags))
            sent += len(tags) + 1
            peer.settimeout(PATIENCE)
            peer.sendall(who.stray() + b"\0\0")
            with suppress(ConnectionError):
                assert peer.recv(1) == b""
    raise AssertionError


def work_until(done: Callable[[], bool], app: Pyshard) -> tuple[int, float]:
    """Write and read as an honest client until something is done; how many operations, and the longest one's time."""
    operations, longest = 0, 0.0
    while not done():
        for number in range(10):
            began = time.monotonic()
            key, document = f"honest{number}", {"n": operations}
            assert app.write(key, document)
            found = app.read(key)
            assert found is not None
            assert found["record"] == document
            operations += 2
            longest = max(longest, time.monotonic() - began)
    return operations, longest


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "durable"])
def test_daemons(new_cluster: NewCluster, durable: bool) -> None:
    """Neither a shard nor a bootstrap grows, and an honest client is served right meanwhile."""
    cluster = new_cluster(1, durable=durable)
    cluster.start()
    targets = [*cluster.shards, cluster.bootstrap]
    with Pyshard(cluster.server) as app, ThreadPoolExecutor(len(targets)) as pool:
        app.write("test", "hello world")
        for daemon in targets:  # what a daemon takes once
            flood(daemon, 2 * CHUNK, 1)
        before = [resident(daemon.pid) for daemon in targets]
        began = time.monotonic()
        running = [pool.submit(flood, daemon, BOXES // len(targets), 7) for daemon in targets]
        operations, longest = work_until(lambda: all(one.done() for one in running), app)
        sent = sum(one.result() for one in running)
        grown = [resident(daemon.pid) - old for daemon, old in zip(targets, before, strict=True)]
        assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
    seconds, mib = time.monotonic() - began, [round(one / 1024**2, 1) for one in grown]
    sys.stdout.write(
        f"\n{sent:,} boxes in {seconds:.0f} s, grown by {mib} MiB; {operations:,} honest operations, two "
        f"in at most {longest:.3f} s\n"
    )
    assert max(grown) < MOST_GROWTH


_CLIENT = """
import re, sys
from pathlib import Path
from pyshard import Pyshard
from pyshard.errors import Unavailable

def resident():
    return int(re.findall(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024

with Pyshard(sys.argv[1]) as app:
    assert app.readiness()[0]["state"] == "ready"
    print("ready", flush=True)
    before, calls, ends = resident(), 0, set()
    while not Path(sys.argv[2]).exists():
        assert app.write("test", calls) and app.read("test")["record"] == calls
        calls += 1
        if calls % 100 == 0:
            try:
                app.readiness(deadline=0.5)
            except Unavailable as error:
                ends.add(str(error).partition("0.5 s: ")[2])
    print(resident() - before, calls, *sorted(ends), sep="|")
"""


class Flooding:
    """Stands between a client and the bootstrap, and sends boxes that the bootstrap didn't send.

    :param honest: how many answers come before.
    """

    def __init__(self, behind: int, honest: int) -> None:
        self._behind = behind
        self._honest = honest
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent = 0
        self._chunks = cycle(list(islice(chunks(9, max(CHUNK, BOXES // 10)), 1)))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                bootstrap = socket.create_connection((HOST, self._behind))
                threading.Thread(target=self._carry, args=(client, bootstrap, self._asked), daemon=True).start()
                threading.Thread(target=self._carry, args=(bootstrap, client, self._answered), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, change: Callable[[Box], bytes]) -> None:
        parser = BoxParser(Limits(keys=1000, size=1 << 30))
        with suppress(OSError), closing(source), closing(target):  # the other direction ends with it
            while data := source.recv(1 << 20):
                parser.feed(data)
                while (box := parser.next_box()) is not None:
                    target.sendall(change(box))

    def _asked(self, box: Box) -> bytes:
        return serialize(box) if b"_command" in box else b""  # what the client answers to the flood is for nobody

    def _answered(self, box: Box) -> bytes:
        if self._honest:
            self._honest -= 1
            return serialize(box)
        data, tags = next(self._chunks)
        self.sent += len(tags)
        return data + serialize(box)


def test_a_client(cluster: Cluster, environment: Mapping[str, str], tmp_path: Path) -> None:
    """A client that its bootstrap floods with questions ends each connection, doesn't grow, and goes on at shards."""
    flooding = Flooding(cluster.bootstrap.port, 3)  # Hello, GetMap, Readiness
    enough = tmp_path / "enough"
    with closing(flooding), subprocess.Popen(
        [sys.executable, "-c", _CLIENT, f"{HOST}:{flooding.port}", str(enough)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path, text=True,
    ) as process:  # fmt: skip
        try:
            end = time.monotonic() + PATIENCE + BOXES / 500
            while flooding.sent < BOXES and process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            enough.touch()
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    grown, calls, *ends = out.removeprefix("ready\n").strip().split("|")
    sys.stdout.write(
        f"\n{flooding.sent:,} boxes, grown by {int(grown) / 1024**2:.1f} MiB; {int(calls):,} rounds of honest calls\n"
    )
    assert flooding.sent >= BOXES
    assert "the peer broke the protocol: it asked more than 20 questions at once, or 1 a second" in ends
    assert int(grown) < MOST_GROWTH
