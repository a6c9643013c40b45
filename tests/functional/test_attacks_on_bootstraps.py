"""Attacks on a bootstrap and on HTTP ports: what they cost others, who ask for the map, or whether a daemon lives.

With ``pytest -s`` the figures are printed. Before the state was saved in a thread, and changes made in turn, others
had 4 to 29 % of their rate beside the flood; and every health check beside 150 connections failed.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from functional.attacks import LONGEST, command
from functional.cluster import HOST, PATIENCE, Cluster, Daemon, NewCluster, until
from ports import free_port

from pyshard.protocol.boxes import BoxParser, Limits

pytestmark = [pytest.mark.functional, pytest.mark.long]

SECONDS = 3.0
CONNECTIONS = 30
IN_FLIGHT = 32

#: Where the flood comes from; the others come from the usual address.
FLOOD = "127.0.0.9" if sys.platform == "linux" else HOST

#: Asks for the names of all indexes for some seconds, then prints how often that was, and the longest wait.
_ASKING = """
import sys, time
from pyshard import Pyshard
with Pyshard(sys.argv[1], deadline=60) as app:
    app.indexes()
    times = [time.monotonic()]
    while times[-1] < times[0] + float(sys.argv[2]):
        app.indexes()
        times.append(time.monotonic())
print(len(times) - 1, max(end - start for start, end in zip(times, times[1:])))
"""


def questions(cluster: Cluster) -> tuple[float, float]:
    """How many questions for the map a client asks in a second, and its longest wait."""
    said = cluster.script(_ASKING, cluster.server, str(SECONDS))
    assert said.returncode == 0, said.stderr
    asked, longest = map(float, said.stdout.split())
    return asked / SECONDS, longest


def flood(daemon: Daemon, number: int, over: threading.Event) -> None:
    """Create and drop an index again and again, with as many changes in flight as a connection may have."""
    parser, sent = BoxParser(Limits(keys=1000, size=1 << 30)), 0

    def changes(count: int) -> bytes:
        nonlocal sent
        names = [b"x%d-%d" % (number, place // 2) for place in range(sent, sent + count)]
        sent += count
        return b"".join(
            command("DropIndex" if place % 2 else "CreateIndex", name=name)
            for place, name in enumerate(names, sent - count)
        )

    with suppress(OSError), socket.create_connection(daemon.place, PATIENCE, (FLOOD, 0)) as peer:
        peer.sendall(changes(IN_FLIGHT))
        while not over.is_set() and (received := peer.recv(1 << 16)):
            parser.feed(received)
            answered = 0
            while parser.next_box() is not None:
                answered += 1
            peer.sendall(changes(answered))


def test_changes_of_the_cluster(new_cluster: NewCluster) -> None:
    """A flood of changes of the state leaves others the map, and their own changes."""
    cluster = new_cluster(1)
    cluster.start()
    before, _ = questions(cluster)
    over = threading.Event()
    floods = [threading.Thread(target=flood, args=(cluster.bootstrap, number, over)) for number in range(CONNECTIONS)]
    for thread in floods:
        thread.start()
    try:
        beside, longest = questions(cluster)
    finally:
        over.set()
        for thread in floods:
            thread.join()
    sys.stdout.write(
        f"\nothers asked {beside:,.0f} times a second, which are {beside / before:.0%} of {before:,.0f}; the longest "
        f"wait was {longest:.3f} s\n"
    )
    assert longest < LONGEST


def healthy(port: int, host: str) -> float | None:
    """Seconds until a daemon has said that it lives, over a connection from some address; None: it didn't."""
    began = time.monotonic()
    with suppress(OSError), socket.create_connection((HOST, port), PATIENCE, (host, 0)) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        if peer.recv(1 << 16).startswith(b"HTTP/1.1 200"):
            return time.monotonic() - began
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one address for itself")
def test_health_checks_beside_a_crowd(new_cluster: NewCluster) -> None:
    """One address that takes all connections of an HTTP port, and asks all the time, keeps nobody out of it."""
    cluster, port = new_cluster(1), free_port()
    cluster.shards[0].add_option(f"--http={HOST}:{port}")
    cluster.start()
    until(lambda: healthy(port, "127.0.0.2") is not None, "the HTTP port answers")
    code = """
import socket, sys, threading
def ask():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 3) as peer:
                while True:
                    peer.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n")
                    if not peer.recv(1 << 20):
                        break
        except OSError:
            pass
for _ in range(150):
    threading.Thread(target=ask, daemon=True).start()
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code, str(port)], stdin=subprocess.PIPE) as crowd:
        try:
            time.sleep(1)
            waits = [healthy(port, "127.0.0.2") for _ in range(20)]
        finally:
            crowd.kill()
    answered = [wait for wait in waits if wait is not None]
    sys.stdout.write(f"\n{len(answered)} of {len(waits)} checks were answered, within {max(answered):.3f} s\n")
    assert len(answered) == len(waits)
    assert max(answered) < LONGEST
