"""What operators are told of writers that are slowed down."""

from __future__ import annotations

from math import inf

import pytest
from deferreds import watch
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs

from pyshard.metrics.family import Stat
from pyshard.metrics.shard_families import SHARD_FAMILIES
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.shard.slowdowns import DISK, FOLLOWER, Slowdowns
from pyshard.shard.slowed_writers import Allowed, SlowedWriters
from pyshard.storage.follower_places import FollowerPlaces

RUN = [Write("", [b"key"], [b"record"])]
SLOT = slot_of(b"key")


def test_how_long() -> None:
    """From one look to the next, but a second at the most: then there was nobody to be slowed."""
    slowdowns = Slowdowns()
    for now, rate in ((10.0, inf), (11.0, 500.0), (11.5, 400.0), (20.0, inf), (30.0, inf)):
        slowdowns.note(DISK, now, rate)
    assert slowdowns.described(30.0)["slowed_seconds"] == {FOLLOWER: 0.0, DISK: 1.5}


def test_to_what() -> None:
    """By what for; what was found stands for five seconds."""
    slowdowns = Slowdowns()
    slowdowns.note(DISK, 10.0, 500.4)
    slowdowns.note(FOLLOWER, 11.0, 70.0)
    assert slowdowns.described(14.9)["slowed_to"] == {FOLLOWER: 70, DISK: 500}
    assert slowdowns.described(15.1)["slowed_to"] == {FOLLOWER: 70, DISK: None}
    slowdowns.note(FOLLOWER, 15.2, inf)
    assert slowdowns.described(15.3)["slowed_to"] == {FOLLOWER: None, DISK: None}


def test_when_operators_are_told() -> None:
    """When it begins, and not again within a minute; of each of the two by itself."""
    slowdowns = Slowdowns()
    told = [
        slowdowns.note(DISK, now, rate)
        for now, rate in ((0.0, inf), (1.0, 5.0), (2.0, 6.0), (3.0, inf), (4.0, 5.0), (60.0, inf), (61.0, 5.0))
    ]
    assert told == [False, True, False, False, False, False, True]
    assert slowdowns.note(FOLLOWER, 61.5, 5.0)


class Shard:
    """Writers of a shard, and what its disk and a follower take."""

    def __init__(self) -> None:
        self.clock, self.places, self.disk, self.follower = Clock(), FollowerPlaces(), inf, Allowed()
        self.writers = SlowedWriters(self.places, lambda _: self.follower, self.clock, lambda: self.disk)

    def write(self, seconds: int) -> list[LogEvent]:
        """Have something written each tenth of a second; what is logged meanwhile."""
        with capturedLogs() as logs:
            for _ in range(10 * seconds):
                watch(self.writers.serve(RUN, 100, lambda: succeed("done"), "a"))
                self.clock.advance(0.1)
        return list(logs)


def test_a_slow_disk_is_told() -> None:
    """By `stat` and the log, while it is so; for how long also afterwards."""
    shard = Shard()
    shard.disk = 300_000.0
    (line,) = shard.write(5)
    assert line["log_format"].endswith("so that the disk keeps up")
    assert line["rate"] == 300_000
    told = shard.writers.described()
    assert (told["slowed_to"], told["slowed_for"]) == ({"follower": None, "disk": 300_000}, "")
    shard.disk = inf
    assert shard.write(10) == []
    told = shard.writers.described()
    assert told["slowed_to"] == {"follower": None, "disk": None}
    assert told["slowed_seconds"] == {"follower": 0.0, "disk": pytest.approx(5, abs=1)}


def test_a_follower_is_told_by_name() -> None:
    """As long as writers are slowed for it."""
    shard = Shard()
    shard.places.any, shard.follower = True, Allowed(70_000.0, ((SLOT, SLOT + 1),), "replica h:2")
    (line,) = shard.write(5)
    assert (line["rate"], line["follower"]) == (70_000, "replica h:2")
    told = shard.writers.described()
    assert (told["slowed_to"], told["slowed_for"]) == ({"follower": 70_000, "disk": None}, "replica h:2")
    shard.clock.advance(5)
    assert shard.writers.described()["slowed_for"] == ""


def samples(name: str, stat: Stat) -> dict[tuple[str, ...], float]:
    """The values of a metric."""
    (family,) = [family for family in SHARD_FAMILIES if family.name == name]
    return dict(family.samples(stat))


def test_metrics() -> None:
    """The rate of what is slowed alone, and the time of both; one of another version that tells of neither has none."""
    shard = Shard()
    shard.disk = 300_000.0
    shard.write(5)
    stat = shard.writers.described()
    assert samples("pyshard_slowed_writers_bytes", stat) == {("disk",): 300_000}
    seconds = samples("pyshard_slowed_writers_seconds_total", stat)
    assert seconds == {("follower",): 0.0, ("disk",): pytest.approx(5, abs=1)}
    assert samples("pyshard_slowed_writers_bytes", {}) == samples("pyshard_slowed_writers_seconds_total", {}) == {}
