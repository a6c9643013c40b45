"""Attacks from one address that take as much of a daemon's time as they can: what honest clients keep of their rate.

On a quiet machine they keep 70 % or more; with ``pytest -s`` the figures are printed. Before the shares of the time
(`pyshard.server.address_time_shares`) they kept 3 to 20 %. On a busy machine the attack's own process takes as much of
them as the daemon. So rates are asserted elsewhere, by a clock of their own (tests/server/test_serving_turns.py).
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import Certificates
from functional.attacks import LONGEST, apply, command, exchange, in_threads
from functional.cluster import HOST, PATIENCE, Daemon, NewCluster
from functional.honest import Seen, honest_clients

from pyshard.model import document_encoding
from pyshard.protocol.batch_operations import Has, Read, Write
from pyshard.protocol.boxes import BoxParser, Limits

pytestmark = pytest.mark.functional

SECONDS = 1.5
IN_FLIGHT = 64
NONE = document_encoding.encode(None)[0]

LARGE = apply(Has("", [b"%d" % number for number in range(10_000)]))
PING = command("Ping")


def attack_with(dial: Callable[[], socket.socket], data: bytes, threads: int) -> int:
    """Send the same bytes over and over, each time when something was answered; how often that was."""
    ended, times = time.monotonic() + SECONDS, list[int]()

    def one() -> None:
        with suppress(OSError), dial() as peer:
            while time.monotonic() < ended:
                peer.sendall(data)
                if not peer.recv(1 << 20):
                    return
                times.append(1)

    in_threads(threads, one)
    return len(times)


def ask_in_flight(dial: Callable[[], socket.socket], box: bytes, connections: int) -> int:
    """Have `IN_FLIGHT` boxes on their way over each of some connections all the time; how many were answered."""
    ended, answered = time.monotonic() + SECONDS, list[int]()

    def one() -> None:
        parser, count = BoxParser(Limits(keys=1000, size=1 << 20)), 0
        with dial() as peer:
            peer.sendall(IN_FLIGHT * box)
            while time.monotonic() < ended and (received := peer.recv(1 << 20)):
                parser.feed(received)
                before = count
                while parser.next_box() is not None:
                    count += 1
                peer.sendall((count - before) * box)
        answered.append(count)

    in_threads(connections, one)
    return sum(answered)


def check(seen: Seen, what: str, times: int) -> None:
    """Print what was seen; the others were served in time, and so was the attack."""
    seen.tell(what)
    sys.stdout.write(f"the attack was answered {times:,} times\n")
    assert times > 0
    assert seen.beside > 0
    assert seen.waited_in_time(2 * LONGEST), seen  # the attack's process works all the time, too


@pytest.mark.long
def test_boxes(new_cluster: NewCluster) -> None:
    """Large boxes, with small ones in between or not, thousands of small ones, and a connection for each large one."""
    cluster = new_cluster(1)
    cluster.start()
    (daemon,) = cluster.shards

    def dial() -> socket.socket:
        return socket.create_connection((HOST, daemon.port), timeout=PATIENCE)

    for what, data in (("large boxes", LARGE), ("and pings", LARGE + PING), ("a flood of pings", 4000 * PING)):
        with honest_clients(cluster) as seen:
            times = attack_with(dial, data, 4)
        check(seen, what, times)
    with honest_clients(cluster) as seen:
        ended, times = time.monotonic() + SECONDS, 0
        while time.monotonic() < ended:
            times += len(exchange(daemon, LARGE, 1))
    check(seen, "a connection for each box", times)


@pytest.mark.parametrize(
    "durable", [pytest.param(False, marks=pytest.mark.long, id="memory"), pytest.param(True, id="durable")]
)
def test_small_things_in_flight(new_cluster: NewCluster, durable: bool) -> None:
    """Hundreds of small reads in flight, and hundreds of small writes, of one document or of twenty."""
    cluster = new_cluster(1, durable=durable)
    cluster.start()
    (daemon,) = cluster.shards
    keys = [b"%d" % number for number in range(20)]
    boxes = {
        "reads in flight": apply(Read("", keys[:1])),
        "writes in flight": apply(Write("", keys[:1], [NONE])),
        "writes of twenty documents": apply(Write("", keys, [NONE] * 20)),
    }

    def dial() -> socket.socket:
        return socket.create_connection((HOST, daemon.port), timeout=PATIENCE)

    for what, box in boxes.items():
        with honest_clients(cluster) as seen:
            times = ask_in_flight(dial, box, 8)
        check(seen, what, times)


def start_with_tls(daemon: Daemon, files: Certificates) -> None:
    """Start a daemon with the certificates' options."""
    own = files.daemon
    for option in (f"--tls-ca={own.ca}", f"--tls-certificate={own.certificate}", f"--tls-key={own.key}"):
        daemon.add_option(option)
    daemon.start()
    daemon.wait_listening()


@pytest.mark.long
def test_records_of_one_byte(new_cluster: NewCluster, tmp_path: Path) -> None:
    """Whoever sends each byte in a record of TLS of its own is cut off soon, and takes little time of others."""
    cluster, certificates = new_cluster(1), Certificates(tmp_path)
    for daemon in cluster.daemons:
        start_with_tls(daemon, certificates)
    own, (shard,) = certificates.client, cluster.shards
    context = ssl.create_default_context(cafile=own.ca)
    assert own.certificate is not None
    context.load_cert_chain(own.certificate, own.key)
    context.check_hostname = False
    box = b"".join(b"\0\2%02d\xff\xff" % number + b"x" * 65535 for number in range(99))  # it never ends
    sent = cut_off = 0

    def send_until_cut_off() -> int:
        """How many bytes were sent over one connection."""
        incoming, outgoing, count = ssl.MemoryBIO(), ssl.MemoryBIO(), 0
        with socket.create_connection((HOST, shard.port), timeout=PATIENCE) as peer:
            tls, done = context.wrap_bio(incoming, outgoing), False
            while not done:
                try:
                    tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    peer.sendall(outgoing.read())
                    incoming.write(peer.recv(1 << 16))
            with suppress(ConnectionError):
                while count < len(box):
                    for byte in box[count : count + 500]:
                        tls.write(bytes([byte]))
                    count += 500
                    peer.sendall(outgoing.read())
        return count

    with honest_clients(cluster, None, str(own.ca), str(own.certificate), str(own.key)) as seen:
        ended = time.monotonic() + SECONDS
        while time.monotonic() < ended:
            count = send_until_cut_off()
            assert count < len(box), "it was never cut off"
            sent += count
            cut_off += 1
    check(seen, f"{sent:,} bytes in as many records, over {cut_off} connections", sent)
