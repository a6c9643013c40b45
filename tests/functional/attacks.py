"""What attacks on real daemons are made of: allowed boxes, many at a time.

The environment variable PYSHARD_TEST_ATTACKS makes each attack so many times as large.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from functional.cluster import PATIENCE, Daemon

from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Run
from pyshard.protocol.boxes import Box, BoxParser, Limits, serialize
from pyshard.protocol.chunked_arguments import put_chunks

#: How many times as large as in CI the attacks are.
MORE = int(os.environ.get("PYSHARD_TEST_ATTACKS", "1"))

#: Seconds that others may wait: more than the 0.3 s of a quiet machine, for one that is busy. See `waited_in_time`.
LONGEST = 1.5
_tags = count(1)


def command(name: str, /, **arguments: bytes) -> bytes:
    """The bytes of a command."""
    values = {key.encode(): value for key, value in arguments.items()}
    return serialize({b"_command": name.encode(), b"_ask": b"%d" % next(_tags), **values})


def apply(*runs: Run, epoch: int = 0) -> bytes:
    """The bytes of a batch.

    :param epoch: of the map that it goes by. With the first one a shard with replicas refuses all.
    """
    box: Box = {b"_command": b"Apply", b"_ask": b"%d" % next(_tags), b"epoch": b"%d" % epoch}
    put_chunks(box, b"batch", encode_runs(list(runs)))
    return serialize(box)


def exchange(daemon: Daemon, data: bytes, answers: int) -> list[Box]:
    """Send bytes on a connection of their own, and read so many boxes, or until the daemon closes."""
    parser, found = BoxParser(Limits(keys=1000, size=1 << 30)), list[Box]()
    with suppress(ConnectionError), socket.create_connection(daemon.place, timeout=2 * PATIENCE) as peer:
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
    in_threads(connections, lambda: exchange(daemon, data, answers))


def in_threads(number: int, work: Callable[[], object]) -> None:
    """Do something in so many threads at a time, and wait for all of them."""
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
