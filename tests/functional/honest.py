"""Honest clients beside an attack: how long they wait at the most, and how many operations they get done.

They are processes of their own, so that the attack's work in the tests' process doesn't delay them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
from functional.cluster import PATIENCE, Cluster

_CODE = """
import sys, time
from pathlib import Path
from pyshard import Pyshard

server, writes, stop, token_file = sys.argv[1:]
with Pyshard(server, deadline=60, token_file=token_file or None) as app:
    app.write("honest", 0)
    print("ready", flush=True)
    longest, done, began = 0.0, 0, time.monotonic()
    while not Path(stop).exists():
        start = time.monotonic()
        if writes == "True" and done % 2:
            assert app.write("honest", done)
        else:
            assert app.read("honest")
        longest, done = max(longest, time.monotonic() - start), done + 1
    print(longest, done, time.monotonic() - began)
"""


@attrs.define
class Seen:
    """What honest clients have seen.

    :ivar longest: seconds of the longest wait for one operation.
    :ivar rate: operations a second, of all of them.
    """

    longest: float = 0.0
    rate: float = 0.0


@contextmanager
def honest_clients(cluster: Cluster, token_file: Path | None = None) -> Iterator[Seen]:
    """Two clients at work: one reads, one reads and writes. What they have seen is there after the context."""
    stop, seen = cluster.folder / "stop", Seen()
    command = [sys.executable, "-c", _CODE, cluster.server]
    clients = [
        subprocess.Popen(
            [*command, str(writes), str(stop), str(token_file or "")],
            cwd=cluster.folder,
            env=cluster.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for writes in (False, True)
    ]
    try:
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "ready\n"
        yield seen
        stop.touch()
        for client in clients:
            said = client.communicate(timeout=PATIENCE + 60)[0]
            assert client.returncode == 0, said
            longest, done, seconds = map(float, said.split())
            seen.longest = max(seen.longest, longest)
            seen.rate += done / seconds
    finally:
        for client in clients:
            client.kill()
            client.wait()
        stop.unlink(missing_ok=True)


def tell(what: str, seen: Sequence[Seen]) -> None:
    """Print the figures, which ``pytest -s`` shows."""
    for one in seen:
        sys.stdout.write(f"\n{what}: others waited {one.longest:.3f} s at the most, {one.rate:.0f} operations/s\n")
