"""Kill a durable shard again and again under load, and check that it lost nothing it acknowledged.

Workers write, remove and pop, each on keys of its own, so that for every key it is known which documents it may have:
one after an acknowledged operation, two after one whose answer was lost. After each SIGKILL and restart every key is
read, and the shard's counters are compared with a full count.

tests/functional/test_crash.py does it 50 times; by hand, any number of times: CONTRIBUTING.md.
"""

from __future__ import annotations

import random
import signal
import threading
import time

import attrs
from functional.cluster import Cluster

from pyshard import Pyshard
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.model import document_encoding
from pyshard.model.document_encoding import Document
from pyshard.settings import settings

_WORKERS = 4
_KEYS = 50  # of each worker


class Lost(AssertionError):
    """An acknowledged operation isn't there, or something is there that never was."""


@attrs.define
class Tally:
    """What a run came to."""

    kills: int = 0
    acknowledged: int = 0
    unknown: int = 0
    slowest_start: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.acknowledged} acknowledged operations, {self.unknown} with unknown outcome, "
            f"none lost; slowest restart {self.slowest_start:.2f} s"
        )


class Worker:
    """One thread's keys, and what each may hold.

    :ivar possible: key → the documents that it may have; None stands for no document.
    """

    def __init__(self, number: int, seed: int) -> None:
        self.random = random.Random(seed * 1000 + number)
        self.possible: dict[str, list[Document]] = {f"worker{number}/{key}": [None] for key in range(_KEYS)}
        self.acknowledged = self.unknown = 0
        self._count = 0

    def work(self, app: Pyshard, stop: threading.Event) -> None:
        """Do one operation after another until told to stop."""
        while not stop.is_set():
            key = self.random.choice(list(self.possible))
            self._count += 1
            verb = self.random.choice(["write", "write", "write", "remove", "pop"])
            after: Document = {"n": self._count, "text": "x" * self.random.randrange(2000)} if verb == "write" else None
            try:
                if verb == "write":
                    app.write(key, after, deadline=5)
                elif verb == "remove":
                    app.remove(key, deadline=5)
                else:
                    app.pop(key, deadline=5)
            except OutcomeUnknown:
                self.possible[key].append(after)
                self.unknown += 1
            except Unavailable:
                continue
            else:
                self.possible[key] = [after]
                self.acknowledged += 1

    def check(self, app: Pyshard) -> None:
        """Read every key.

        :raises Lost: one holds what it can't.
        """
        for key, possible in self.possible.items():
            record = app.read(key)
            found = None if record is None else record["record"]
            if found not in possible:
                raise Lost(f"{key} has {found!r:.100}, expected one of {possible!r:.300}")
            self.possible[key] = [found]


def check_counters(app: Pyshard) -> None:
    """Compare what the shards count with what is there.

    :raises Lost: they differ.
    """
    found = used = 0
    for key in app.keys():  # noqa: SIM118  # no dict
        record = app.read(key)
        assert record is not None
        found += 1
        used += len(key.encode()) + len(document_encoding.encode(record["record"])[0]) + settings.ITEM_OVERHEAD
    shards = app.stat()["shards"]
    assert isinstance(shards, list)
    counted = sum(shard["documents"] for shard in shards), sum(shard["bytes"] for shard in shards)
    if counted != (found, used):
        raise Lost(f"the shards count {counted} documents and bytes, a full count gives {(found, used)}")


def crash(cluster: Cluster, kills: int, seed: int) -> Tally:
    """Run the load on a cluster that is ready, and kill one of its shards `kills` times.

    :raises Lost: a promise was broken.
    """
    chance, tally = random.Random(seed), Tally()
    workers = [Worker(number, seed) for number in range(_WORKERS)]
    with Pyshard(cluster.server) as app:
        for _ in range(kills):
            stop = threading.Event()
            threads = [threading.Thread(target=worker.work, args=(app, stop)) for worker in workers]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.02, 0.3))
            victim = chance.choice(cluster.shards)
            victim.end(signal.SIGKILL)
            stop.set()
            began = time.monotonic()
            victim.start()
            for thread in threads:
                thread.join()
            cluster.wait_ready()
            tally.slowest_start = max(tally.slowest_start, time.monotonic() - began)
            tally.kills += 1
            for worker in workers:
                worker.check(app)
            check_counters(app)
    tally.acknowledged = sum(worker.acknowledged for worker in workers)
    tally.unknown = sum(worker.unknown for worker in workers)
    return tally
