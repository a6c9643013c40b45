"""Real processes that are suspended, and real clients that are idle for long."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from functional.cluster import Cluster, Daemon, NewCluster

from pyshard import Pyshard
from pyshard.settings import settings

pytestmark = [pytest.mark.functional, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

#: Fills the queue for a shard that is stopped, works on the other one meanwhile, and says what it came to.
STUCK = """
import json, os, re, signal, sys, time
from collections import Counter
from twisted.internet.task import deferLater, react
from pyshard import connect
from pyshard.settings import settings

server, pid, stuck, other = sys.argv[1:]
object.__setattr__(settings, "MAX_WAITING_BYTES", 16 * 1024 * 1024)

def resident():
    return int(re.findall(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[0]) // 1024

async def main(reactor):
    client = await connect(reactor, server, deadline=3)
    for key in (stuck, other):
        await client.increment(key)
    os.kill(int(pid), signal.SIGSTOP)
    outcomes, before, document = Counter(), resident(), os.urandom(1 << 20)
    for number in range(500):
        client.write(stuck, document[number:]).addCallbacks(
            lambda _: outcomes.update(["done"]), lambda failure: outcomes.update([type(failure.value).__name__])
        )
    at_once = dict(outcomes)
    times = []
    for _ in range(200):
        began = time.monotonic()
        await client.increment(other)
        times.append(time.monotonic() - began)
    grown = resident() - before
    while sum(outcomes.values()) < 500:
        await client.increment(other)
        await deferLater(reactor, 0.05)
    os.kill(int(pid), signal.SIGCONT)
    await client.read(stuck, deadline=20)
    print(json.dumps([dict(outcomes), at_once, sorted(times)[100], grown]))

react(main)
"""

#: What `twistd` is, with other settings.
TWISTD = """
from pyshard.settings import settings
for name, value in {changed!r}.items():
    object.__setattr__(settings, name, value)
from twisted.scripts.twistd import run
run()
"""


def change_settings(daemon: Daemon, **changed: float) -> None:
    """Have a daemon that isn't started yet go by other settings."""
    daemon._command = [sys.executable, "-c", TWISTD.format(changed=changed), *daemon._command[1:]]


@contextmanager
def own_settings(**changed: float) -> Iterator[None]:
    """Have this process's clients go by other settings."""
    before = {name: getattr(settings, name) for name in changed}
    try:
        for name, value in changed.items():
            object.__setattr__(settings, name, value)
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(settings, name, value)


def test_a_stopped_shard(cluster: Cluster) -> None:
    """A shard that is stopped costs a client a bounded amount of memory, and the other shard's answers no time."""
    daemon = cluster.shards[0]
    try:
        done = cluster.script(STUCK, cluster.server, str(daemon.pid), cluster.keys(0, 1)[0], cluster.keys(1, 1)[0])
    finally:
        daemon.send(signal.SIGCONT)
    assert done.stderr == ""
    outcomes, at_once, middle, grown = json.loads(done.stdout)
    assert set(outcomes) <= {"Overloaded", "Unavailable", "OutcomeUnknown"}
    assert at_once == {"Overloaded": outcomes["Overloaded"]}
    assert outcomes["Overloaded"] >= 480
    assert middle < 1  # seconds of one call to the other shard; those to the stopped one end after 3
    assert grown < 100  # MiB


def test_idle_blocking_clients(new_cluster: NewCluster) -> None:
    """Clients that are idle for about as long as daemons let them lose no change, whichever moment they wake up at."""
    cluster = new_cluster(1)
    for daemon in cluster.daemons:
        change_settings(daemon, IDLE=0.6, IDLE_LOOK=0.2)
    cluster.start()
    rounds, clients = 3, 8

    def work(number: int) -> int:
        chance = random.Random(number)
        with Pyshard(cluster.server) as app:
            for _ in range(rounds):
                time.sleep(chance.uniform(0.2, 1.4))
                app.increment("count")
            return rounds

    with own_settings(HEARTBEAT=0.3), ThreadPoolExecutor(clients) as pool:
        done = sum(pool.map(work, range(clients)))
    with Pyshard(cluster.server) as app:
        assert app.increment("count", 0) == done == rounds * clients
    assert "cut off, nothing was heard for 0.6 s, nor an answer to Ping" in cluster.shards[0].log()
