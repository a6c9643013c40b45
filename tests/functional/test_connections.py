"""Real daemons with more connections than they may have, and with fewer files than connections need."""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from functional.cluster import HOST, Cluster, Daemon, NewCluster, until
from twisted.protocols.amp import AmpBox, parseString

from pyshard import Pyshard

pytestmark = [
    pytest.mark.functional,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and limits running processes"),
]

PING = AmpBox(_command=b"Ping", _ask=b"1").serialize()


def files_of(daemon: Daemon) -> int:
    """How many files a daemon has open."""
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def processor_time(daemon: Daemon) -> float:
    """Seconds that a daemon has computed."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def answer(peer: socket.socket) -> bytes:
    """What a daemon answers to `Ping`: nothing is an answer, an error's code, or "closed"."""
    try:
        peer.sendall(PING)
        received = b""
        while not received.endswith(b"\0\0"):
            if not (more := peer.recv(65_536)):
                return b"closed"
            received += more
    except ConnectionError:
        return b"closed"
    code: bytes = parseString(received)[0].get(b"_error_code", b"")
    return code


@contextmanager
def crowd(daemon: Daemon, count: int) -> Iterator[list[bytes]]:
    """Many connections to a daemon; what it answers to each."""
    with ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection((HOST, daemon.port), timeout=20))

        yield [answer(connect()) for _ in range(count)]


def few_files(daemon: Daemon, count: int) -> None:
    """Have a daemon that isn't started yet be allowed so many files."""
    daemon._command = ["/bin/sh", "-c", f'ulimit -n {count}; exec "$0" "$@"', *daemon._command]


@pytest.mark.parametrize("by_option", [True, False], ids=["option", "files"])
def test_a_crowd(new_cluster: NewCluster, by_option: bool) -> None:
    """A connection over the limit is refused at once, the others go on, and later there is room again.

    The limit is that of the option, or what a process can do that may have few files open.
    """
    cluster = new_cluster(1)
    (daemon,) = cluster.shards
    if by_option:
        daemon._command += ["--max-connections=40"]
    else:
        few_files(daemon, 128)
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.write("test", "hello world")
        with crowd(daemon, 120) as answers:
            assert set(answers) <= {b"", b"TOO_MANY_CONNECTIONS", b"closed"}
            assert answers.count(b"TOO_MANY_CONNECTIONS") >= 8
            served = answers.count(b"")
            assert (served == 38) if by_option else (30 <= served < 100)
            assert (answers.count(b"closed") == 0) is by_option
            assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
            before = processor_time(daemon)
            time.sleep(0.5)
            assert processor_time(daemon) - before < 0.3
            assert app.increment("count") == 1
        assert ("this process may not have the" in daemon.log()) is not by_option
        until(lambda: files_of(daemon) < 40, "the crowd is gone")
        with crowd(daemon, 5) as answers:
            assert answers == [b""] * 5
        assert app.increment("count") == 2
    assert daemon.end() == 0


def test_no_files_left(cluster: Cluster) -> None:
    """A daemon that can open no further file neither dies nor spins, and serves those that it has."""
    daemon = cluster.shards[0]
    key = cluster.keys(0, 1)[0]
    with Pyshard(cluster.server) as app:
        assert app.increment(key) == 1
        had = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (files_of(daemon) + 2, had[1]))
        with crowd(daemon, 30) as answers:
            assert answers == [b""] * 2 + [b"closed"] * 28
            before = processor_time(daemon)
            assert app.increment(key) == 2
            time.sleep(0.5)
            assert processor_time(daemon) - before < 0.3
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, had)
        with crowd(daemon, 30) as answers:
            assert answers == [b""] * 30
        assert app.increment(key) == 3
