"""A shard that pulls from another one, over a network in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from shard.served import WHERE
from shard.served import Bench as Served
from storage.followers.following import bring_to_the_disk
from stores import PLENTY, Bench
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from pyshard.errors import PyshardError
from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, without
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol.batch_operations import Pop, Run, Touch, Write
from pyshard.protocol.change_groups import Change
from pyshard.protocol.store_ranges import Origin
from pyshard.shard.followed_shard import APART, FollowedShard
from pyshard.shard.range_pull import RangePull

MOVING: SlotRanges = ((1_000_000, 4_000_000), (6_000_000, 7_000_000))
REST = without(((0, SLOTS),), MOVING)
KEYS = [b"%d" % each for each in range(400)] + [b"long" * 200]
INDEXES = {"pages": 1}
KINDS = ["memory", "lmdb", "lmdb with a small map"]

#: Source and target: each kind on each side in CI, all pairs by hand.
_IN_CI = {("memory", "lmdb"), ("lmdb", "memory"), ("lmdb with a small map", "lmdb with a small map")}
PAIRS = [
    pytest.param(
        (source, target), marks=[] if (source, target) in _IN_CI else pytest.mark.long, id=f"{source} to {target}"
    )
    for source in KINDS
    for target in KINDS
]


class Pulling:
    """A source that is asked over a network in memory, and a target that pulls.

    :ivar outcome: what the present pull has ended with.
    """

    def __init__(self, source: str, target: str, path: Path, pace: float = 1e12) -> None:
        for name in ("source", "target"):
            (path / name).mkdir()
        self.source = Bench(source, path / "source")
        self.target = Bench(target, path / "target")
        for bench in (self.source, self.target):
            bench.result(bench.store.set_indexes(INDEXES))
        self.target.result(self.target.store.own(REST))
        self.pace = pace
        self.limit = PLENTY
        self.held = 0
        self.check_rows: Callable[[Sequence[Change]], object] = lambda _: None
        self.asked = 0
        self.served: Served | None = None
        self.serve()

    def serve(self) -> None:
        """Serve the source, as its store is now."""
        self.served = Served(self.source.store)
        self.clock = self.served.clock
        self.origin = Origin(self.source.store.identity, self.source.store.incarnation)
        self.new_pull()

    def new_pull(self) -> None:
        """A target that has no more than its store."""
        self.pull = RangePull(
            self.target.store,
            "m",
            MOVING,
            self.origin,
            lambda: self.limit,
            self.clock,
            self.is_held,
            lambda: self.asked,
            self.pace,
            check=self.check_rows,
        )
        self.outcome: list[Any] = []
        self.running: Deferred[None] | None = None

    def is_held(self, sealed: int) -> bool:
        """Whether this is the attempt that is held."""
        return 0 < sealed == self.held

    @property
    def sealed(self) -> int:
        """The last attempt whose seal the target has reached."""
        return self.target.store.ranges.staged["m"].sealed

    def run(self) -> None:
        """Have the target pull over a new connection."""
        assert self.served is not None
        peer = self.served.connect(BoundedAMP(self.clock))
        self.outcome = []
        self.running = Deferred.fromCoroutine(self.pull.run(FollowedShard(peer, "m", MOVING, self.clock)))
        self.running.addBoth(self.outcome.append)

    def interrupt(self) -> None:
        """The connection is lost."""
        assert self.served is not None
        self.served.network.cut(*WHERE)
        self.step()
        self.ended()

    def ended(self) -> None:
        """The pull has ended, since its connection has."""
        (found,) = self.outcome
        assert isinstance(found, Failure)
        assert found.check(PyshardError, ConnectionDone, ConnectionLost), found.getErrorMessage()

    def step(self, seconds: float = 0.1) -> None:
        """A little time passes, in which a target sweeps, too."""
        assert self.served is not None
        bring_to_the_disk(self.source)
        self.served.network.settle()
        pieces = max(1, round(seconds / APART))
        for _ in range(pieces):
            self.clock.advance(seconds / pieces)
            self.served.network.settle()
        self.target.result(self.target.store.sweep(100))

    def catch_up(self) -> None:
        """Pull until there is nothing left to be pulled."""
        for _ in range(2000):
            if self.outcome:
                raise AssertionError(self.outcome[0])
            self.step()
            staging = self.target.store.ranges.staged.get("m")
            if staging is not None and staging.origin.sequence == self.source.store.sequence:
                return
        raise AssertionError(self.pull.progress)

    def change(self, random: Random) -> None:
        """A batch of some kind, with any keys."""
        keys = random.sample(KEYS, random.randrange(1, 20))
        index = random.choice(["", "pages"])
        record, ttl = random.randbytes(random.choice([3, 50])), random.choice([0, 0, 90_000])
        runs: list[Run] = [Write(index, keys, [record] * len(keys), None, [ttl] * len(keys))]
        if random.random() < 0.3:
            runs = [Pop(index, keys)]
        elif random.random() < 0.2:
            runs = [Touch(index, keys, [ttl] * len(keys))]
        self.source.applied(*runs)

    def check(self) -> None:
        """The target has what the source has, with versions and expiries, and nobody sees it before it is owned."""
        wanted = records(self.source, MOVING)
        assert records(self.target, MOVING) == wanted
        assert self.target.store.documents == 0
        self.target.result(self.target.store.own(((0, SLOTS),)))
        assert self.target.store.documents == len(wanted)
        assert self.target.applied(Write("", [b"new"], [b"record"])) == [[True]]
        assert self.target.version(b"new") > max(change.version for change in wanted)

    def close(self) -> None:
        """Close both."""
        if self.running is not None and not self.outcome:
            self.running.cancel()
        self.source.close()
        self.target.close()


def records(bench: Bench, ranges: SlotRanges) -> list[Change]:
    """All records of some slots, in order."""
    copy = bench.result(bench.store.copy("check", ranges))
    found: list[Change] = []
    while (page := copy.page(1 << 20)) != []:
        found += page or []
    copy.close()
    bench.store.forget("check")
    return sorted(found, key=lambda change: (change.index, change.slot, change.key))
