"""Attacks of peers without a token on real daemons: what they cost others, who are at work meanwhile.

See tests/functional/test_attacks.py.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from functional.attacks import LONGEST, MORE, at_once, command
from functional.cluster import HOST, PATIENCE, Cluster, NewCluster
from functional.honest import honest_clients

from pyshard.settings import settings

pytestmark = pytest.mark.functional


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
