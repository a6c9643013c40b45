"""Writers are slowed down while a durable shard's disk doesn't keep up, also if nobody follows the shard."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from deferreds import watch
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from pyshard.errors import Overloaded
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Run, Write
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.slowed_writers import Allowed, SlowedWriters
from pyshard.storage import MemoryStore
from pyshard.storage.follower_places import FollowerPlaces

RUN = [Write("", [b"key"], [b"record"])]
KB = 1000


class Shard:
    """Writers of a shard, and what its disk takes."""

    def __init__(self) -> None:
        self.clock, self.places, self.rate, self.followers = Clock(), FollowerPlaces(), inf, Allowed()
        self.writers = SlowedWriters(self.places, lambda _: self.followers, self.clock, lambda: self.rate)

    def taken(self, seconds: float, batches: dict[str, int], runs: Sequence[Run] = RUN) -> dict[str, float]:
        """Bytes a second that are taken of addresses that each bring a batch of so many bytes each 0.01 s."""
        taken = dict.fromkeys(batches, 0)
        for _ in range(round(seconds * 100)):
            for address, size in batches.items():
                try:
                    self.writers.serve(runs, size, lambda: succeed(None), address)
                except Overloaded:
                    continue
                taken[address] += size
                self.places.written += size
            self.clock.advance(0.01)
        return {address: size / seconds for address, size in taken.items()}


def test_the_heaviest_is_slowed() -> None:
    """To what the disk takes, but for who writes little."""
    shard, batches = Shard(), {"heavy": 100 * KB, "light": KB}
    assert shard.taken(2, batches) == {"heavy": 10_000 * KB, "light": 100 * KB}
    shard.rate = 1000 * KB
    shard.taken(3, batches)
    rates = shard.taken(10, batches)
    assert rates["light"] == 100 * KB
    assert 600 * KB <= rates["heavy"] <= 1100 * KB
    shard.rate = inf
    shard.taken(2, batches)
    assert shard.taken(2, batches) == {"heavy": 10_000 * KB, "light": 100 * KB}


def test_beside_a_follower() -> None:
    """Who changes what is followed gets as little as the follower allows; all others what the disk takes."""
    shard, slot, batches = Shard(), slot_of(b"key"), {"a": 100 * KB}
    shard.places.any, shard.rate = True, 1000 * KB
    shard.followers = Allowed(100.0 * KB, ((slot, slot + 1),))
    shard.taken(3, batches)
    assert 60 * KB <= shard.taken(20, batches)["a"] <= 110 * KB
    others = [Write("", [b"another key"], [b"record"])]
    shard.taken(3, batches, others)
    assert 600 * KB <= shard.taken(10, batches, others)["a"] <= 1100 * KB
    shard.rate = inf
    shard.taken(3, batches, others)
    assert shard.taken(3, batches, others)["a"] == 10_000 * KB
    shard.taken(3, batches)
    assert 60 * KB <= shard.taken(20, batches)["a"] <= 110 * KB
    shard.places.any, shard.followers = False, Allowed()
    shard.taken(3, batches)
    assert shard.taken(3, batches)["a"] == 10_000 * KB


def test_answers_wait() -> None:
    """A change is made at once; its answer comes when more may be written."""
    shard = Shard()
    shard.rate = 100 * KB
    answers = [watch(shard.writers.serve(RUN, 50 * KB, lambda: succeed("done"), "a")) for _ in range(2)]
    assert answers == [["done"], []]
    shard.clock.advance(0.4)
    assert answers[1] == []
    shard.clock.advance(0.2)
    assert answers[1] == ["done"]


def test_the_store_says_what_its_disk_takes() -> None:
    """A shard asks it."""
    clock = Clock()
    store = MemoryStore("1d", clock.seconds)
    writers = ServedFollowers(store, clock).writers
    serve = [watch(writers.serve(RUN, 50 * KB, lambda: succeed("done"), "a")) for _ in range(2)]
    assert serve == [["done"], ["done"]]
    store.writable = 100.0 * KB
    serve = [watch(writers.serve(RUN, 50 * KB, lambda: succeed("done"), "a")) for _ in range(2)]
    assert serve == [["done"], []]
