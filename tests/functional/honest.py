"""Honest clients beside an attack: how long they wait at the most, and how much of their rate is left to them.

They are processes of their own, so that the attack's work in the tests' process doesn't delay them. They come from
addresses other than the attack's, where the system has more than one for itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from functional.cluster import PATIENCE, Cluster

#: Seconds for which they work before the attack begins.
BEFORE = 0.5

#: Reads a second of the one that only reads, without an attack, on a machine that the bounds on waits are for.
USUAL = 1000.0

_CODE = """
import socket, sys, time
from pathlib import Path

from pyshard import Pyshard, Tls

server, writes, stop, address, token_file, *certificate = sys.argv[1:]
dialed = []

class FromAddress(socket.socket):  # the client makes sockets of the kind that stands in the module
    def connect(self, to):
        if sys.platform == "linux":  # only Linux has them all
            self.bind((address, 0))
        dialed.append(to)
        super().connect(to)

socket.socket = FromAddress
tls = Tls(*certificate) if certificate else None
with Pyshard(server, deadline=60, token_file=token_file or None, tls=tls) as app:
    app.write("honest", 0)
    assert dialed, "the client has come from an address that is none of these clients'"
    print("ready", flush=True)
    times = [time.monotonic()]
    while not Path(stop).exists():
        if writes == "True" and len(times) % 2:
            assert app.write("honest", len(times))
        else:
            assert app.read("honest")
        times.append(time.monotonic())
    began, ended = map(float, input().split())
    waits = [end - start for start, end in zip(times, times[1:]) if start < ended and end > began]
    before, beside = sum(end < began for end in times), sum(began <= end <= ended for end in times)
    print(max(waits), before / (began - times[0]), beside / (ended - began))
"""


@attrs.define
class Seen:
    """What honest clients have seen.

    :ivar longest: seconds of the longest wait for one operation, of any of them.
    :ivar reads: reads a second before the attack, of the one that only reads. Its rate is that of the processor alone.
    :ivar before: operations a second before the attack, of all of them.
    :ivar beside: the same while it lasted.
    """

    longest: float = 0.0
    reads: float = 0.0
    before: float = 0.0
    beside: float = 0.0

    def waited_in_time(self, seconds: float) -> bool:
        """Whether nobody waited longer than so many seconds; on a machine that is slower, as many times as long."""
        return self.longest < seconds * max(1.0, USUAL / self.reads)

    def tell(self, what: str) -> None:
        """Print the figures, which ``pytest -s`` shows."""
        sys.stdout.write(
            f"\n{what}: others waited {self.longest:.3f} s at the most, and had {self.beside:,.0f} operations/s, which "
            f"are {self.beside / self.before:.0%} of {self.before:,.0f}; before, one did {self.reads:,.0f} reads/s\n"
        )


@contextmanager
def honest_clients(cluster: Cluster, token_file: Path | None = None, *certificate: str) -> Iterator[Seen]:
    """Two clients at work: one reads, one reads and writes. What they have seen is there after the context.

    :param certificate: the files of the authority, of their certificate and of its key; without, there is no TLS.
    """
    stop, seen = cluster.folder / "stop", Seen()
    command = [sys.executable, "-c", _CODE, cluster.server]
    clients = [
        subprocess.Popen(
            [*command, str(writes), str(stop), address, str(token_file or ""), *certificate],
            cwd=cluster.folder,
            env=cluster.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for writes, address in ((False, "127.0.0.2"), (True, "127.0.0.3"))
    ]
    try:
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "ready\n"
        time.sleep(BEFORE)
        began = time.monotonic()
        yield seen
        window = f"{began} {time.monotonic()}\n"
        stop.touch()
        for client in clients:
            said = client.communicate(window, timeout=PATIENCE + 60)[0]
            assert client.returncode == 0, said
            longest, before, beside = map(float, said.split())
            seen.longest = max(seen.longest, longest)
            seen.reads = seen.reads or before
            seen.before += before
            seen.beside += beside
    finally:
        for client in clients:
            client.kill()
            client.wait()
        stop.unlink(missing_ok=True)
