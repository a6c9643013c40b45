"""Connections by thousands, to real daemons: half-open handshakes of TLS, and peers that connect and go away."""

from __future__ import annotations

import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from certificates import Certificates
from functional.cluster import HOST, PATIENCE, Cluster, Daemon, NewCluster, in_thread

from pyshard import Pyshard, Tls
from pyshard.settings import settings

pytestmark = pytest.mark.functional

#: Handshakes that go no further: more than the connections that one address may have.
HALF_OPEN = 4100

CONNECTIONS = 10_000


@contextmanager
def half_open(daemon: Daemon, number: int) -> Iterator[None]:
    """So many connections over which nothing is ever said; some of them the daemon has ended."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(socket.create_connection((HOST, daemon.port), timeout=PATIENCE))
        yield


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may have so many files open."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < HALF_OPEN + 500:
        pytest.skip(f"the system allows {most:,} open files, the test needs {HALF_OPEN + 500:,}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, HALF_OPEN + 500), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def test_half_open_handshakes(new_cluster: NewCluster, tmp_path: Path, many_files: None) -> None:
    """Beside thousands of handshakes that go no further a client with a certificate is served in time."""
    certificates = Certificates(tmp_path)
    files = certificates.daemon
    cluster = new_cluster(1)
    for daemon in cluster.daemons:
        daemon.add_option(f"--tls-ca={files.ca}")
        daemon.add_option(f"--tls-certificate={files.certificate}")
        daemon.add_option(f"--tls-key={files.key}")
        daemon.start()
        daemon.wait_listening()
    (shard,) = cluster.shards
    tls = Tls(certificates.client.ca, certificates.client.certificate, certificates.client.key)

    def attack() -> None:
        with Pyshard(cluster.server, tls=tls, deadline=PATIENCE) as before:
            before.write("test", 1)
            with half_open(shard, HALF_OPEN):
                began = time.monotonic()
                with Pyshard(cluster.server, tls=tls) as app:  # under the deadline that everybody has
                    assert app.read("test") == {"hash_": 0.1671936, "record": 1}
                    assert app.write("test", 2)
                assert time.monotonic() - began < settings.DEADLINE
                assert before.read("test") == {"hash_": 0.1671936, "record": 2}

    in_thread(attack)
    assert len(shard.log().encode()) < 64 * 1024


@pytest.mark.long
def test_ten_thousand_connections(new_cluster: NewCluster) -> None:
    """Ten thousand that connect, ask one thing and go away, leave a small log; whoever comes then is served."""
    cluster: Cluster = new_cluster(1)
    cluster.start()
    (shard,) = cluster.shards
    ping, lost, logged = b"\0\x04_ask\0\x011\0\x08_command\0\x04Ping\0\0", list[OSError](), len(shard.log())

    def dial() -> None:
        for _ in range(CONNECTIONS // 4):
            try:
                with socket.create_connection((HOST, shard.port), timeout=PATIENCE) as peer:
                    peer.sendall(ping)
            except OSError as error:
                lost.append(error)

    began, threads = time.monotonic(), [threading.Thread(target=dial) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Pyshard(cluster.server) as app:
        assert app.write("test", "hello world")
    seconds, size = time.monotonic() - began, len(shard.log()) - logged
    sys.stdout.write(f"\n{CONNECTIONS:,} connections in {seconds:.1f} s, {size:,} bytes of log\n")
    assert not lost
    assert "lines about connections were left out" in shard.log()
    # Some 200 lines at once and 20 in each second, of at most 150 characters.
    assert size < 150 * (250 + settings.CONNECTION_LINES * seconds)
