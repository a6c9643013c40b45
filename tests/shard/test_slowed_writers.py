"""Writers are slowed down so that a copy of their shard ends, and a follower catches up."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random

import attrs
import pytest
from deferreds import watch
from shard.admitted import admit
from shard.pulling import KEYS, MOVING, REST, Pulling
from shard.served import WHERE
from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import Overloaded, ShardFull
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Pop, Read, Run, Write
from pyshard.settings import settings
from pyshard.shard import served_followers
from pyshard.shard.slowed_writers import ALL, LONGEST, Allowed, SlowedWriters, WriterPace, level

INSIDE, OUTSIDE = ([key for key in KEYS if in_ranges(slot_of(key), ranges)][:5] for ranges in (MOVING, REST))
MB = 1_000_000


def brought(
    pace: WriterPace, seconds: float, rates: dict[str, float], allowed: float, batch: int = 10_000
) -> dict[str, float]:
    """Bytes a second that addresses may bring that would bring some each, and that are refused the rest."""
    found, offered, written, refused = dict.fromkeys(rates, 0.0), dict.fromkeys(rates, 0.0), 0, 0
    for step in range(round(seconds * 100)):
        now = 100 + step * 0.01
        if pace.is_due(now, written, inf):
            pace.look(now, written, lambda _: allowed)
        for address, rate in rates.items():
            offered[address] += rate * 0.01
            while offered[address] >= batch:
                offered[address] -= batch
                if admit(pace, batch, now, address) is None:
                    refused += 1
                else:
                    found[address] += batch / seconds
                    written += batch
    return found


def test_no_more_than_is_allowed() -> None:
    """However much is brought, and however large batches are."""
    for batch in (1000, 100_000, 3 * MB):
        found = brought(WriterPace(), 50, {"a": 40 * MB}, 2 * MB, batch)
        assert 1.5 * MB <= found["a"] <= 2.6 * MB


def test_nobody_is_slowed() -> None:
    """While writers may write what they like, no answer waits."""
    pace = WriterPace()
    pace.look(0.0, 0, lambda _: inf)
    assert [admit(pace, 100 * MB, 0.001 * number, "a") for number in range(100)] == [0.0] * 100


def test_the_heaviest_first() -> None:
    """Who brings little keeps it, beside others who bring all they can, and share the rest."""
    found = brought(WriterPace(), 60, {"much": 40 * MB, "as much": 30 * MB, "little": 0.2 * MB}, 3 * MB)
    assert found["little"] >= 0.19 * MB
    assert found["much"] == pytest.approx(1.4 * MB, rel=0.3)
    assert found["as much"] == pytest.approx(1.4 * MB, rel=0.3)


def test_who_brings_little_does_not_wait() -> None:
    """Beside one that brings all it can, its answers come at once."""
    pace, little, written = WriterPace(), list[float | None](), 0
    for step in range(3000):
        now = step * 0.01
        if pace.is_due(now, written, inf):
            pace.look(now, written, lambda _: 0.5 * MB)
        written += 400_000 * (admit(pace, 400_000, now, "much") is not None)
        if step % 10 == 0:
            written += 1000
            little.append(admit(pace, 1000, now, "little"))
    assert set(little[20:]) == {0.0}


def test_what_others_write() -> None:
    """What isn't written by writers, such as removals of what has expired, doesn't stop them altogether."""
    pace, found = WriterPace(), 0
    for step in range(6000):
        now = step * 0.01
        if pace.is_due(now, step * 10_000, inf):
            pace.look(now, step * 10_000, lambda _: 0.5 * MB)
        found += admit(pace, 1000, now, "a") is not None
    assert found * 1000 >= 4096 * 60


def test_no_answer_waits_long() -> None:
    """A second at the most; what would have to wait for longer is refused, and isn't noted."""
    pace = WriterPace()
    pace.look(0.0, 0, lambda _: 10_000.0)
    assert [admit(pace, 6000, 0.0, "a") for _ in range(4)] == [0.0, 0.6, None, None]
    assert admit(pace, 6000, 0.2, "a") == pytest.approx(LONGEST)
    assert admit(pace, 6000, 0.3, "a") is None
    assert admit(pace, 6000, 0.3, "b") == 0.0
    pace.look(0.4, 0, lambda _: inf)
    assert admit(pace, 6000, 0.4, "a") == 0.0


def test_what_a_change_writes_counts() -> None:
    """A batch may write more than it brings: the next ones are taken for as much more."""
    pace, taken = WriterPace(), 0
    pace.look(0.0, 0, lambda _: inf)
    for _ in range(1000):
        admit(pace, 1000, 0.5, "a")
    pace.look(1.0, 100 * MB, lambda _: 1.0 * MB)  # a hundred times as much was written
    for step in range(1000):
        taken += admit(pace, 1000, 1.0 + step * 0.001, "a") is not None
    assert taken * 1000 * 100 == pytest.approx(2 * MB, rel=0.1)


def test_when_a_look_is_due() -> None:
    """Each second, and sooner when much was brought or written."""
    pace = WriterPace()
    assert pace.is_due(5.0, 0, 1000)
    pace.look(5.0, 0, lambda _: inf)
    assert [pace.is_due(5.5, written, 1000) for written in (0, 999, 1000)] == [False, False, True]
    admit(pace, 1000, 5.5, "a")
    assert pace.is_due(5.5, 0, 1000)
    pace.look(5.5, 0, lambda _: inf)
    assert [pace.is_due(now, 0, 1000) for now in (5.6, 6.4, 6.5)] == [False, False, True]


def test_what_was_written_is_told() -> None:
    """What may be written is found given bytes a second that were written of late."""
    pace, found = WriterPace(), list[float]()

    def allowed(written: float) -> float:
        found.append(written)
        return inf

    pace.look(10.0, 500, allowed)
    pace.look(12.0, 700, allowed)
    assert found == [0.0, 100.0]


@pytest.mark.parametrize(
    ("rates", "total", "expected"),
    [
        ([10], 5, 5),
        ([10, 10], 10, 5),
        ([10, 2], 6, 4),
        ([2, 10, 2], 7, 3),
        ([0, 100], 50, 50),
        ([10], 20, 20),
        ([], 9, 9),
    ],
)
def test_level(rates: list[float], total: float, expected: float) -> None:
    """Who has less than the level keeps it, the others share the rest."""
    assert level(rates, total) == expected


class Slowed:
    """A shard's writers, of which all are slowed to some rate."""

    def __init__(self, pulling: Pulling, monkeypatch: pytest.MonkeyPatch, allowed: Allowed) -> None:
        assert pulling.served is not None
        self.clock = pulling.clock
        self.writers = pulling.served.service.followers.writers
        monkeypatch.setattr(self.writers, "_find", lambda _: allowed)
        monkeypatch.setattr(pulling.source.store.followers, "any", True)

    def ask(self, begin: Callable[[], Deferred[str]], run: Run, size: int) -> list[str | BaseException]:
        """What becomes of a batch, when that is known."""
        return watch(self.writers.serve([run], size, begin))


def test_what_is_refused_is_not_done(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer waits, and the change that would wait for longer isn't begun."""
    slowed, begun = Slowed(pulling_in_memory, monkeypatch, Allowed(10_000.0, ALL)), list[int]()

    def begin() -> Deferred[str]:
        begun.append(len(begun))
        return succeed("done")

    run = Write("", INSIDE, [b"r"] * 5)
    assert slowed.ask(begin, run, 7000) == ["done"]
    waiting = slowed.ask(begin, run, 7000)
    assert (waiting, begun) == ([], [0, 1])
    with pytest.raises(Overloaded, match="nothing was done"):
        slowed.ask(begin, run, 7000)
    assert begun == [0, 1]
    slowed.clock.advance(0.69)
    assert waiting == []
    slowed.clock.advance(0.02)
    assert waiting == ["done"]


def test_failures_wait_too(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is an error stays one."""
    slowed = Slowed(pulling_in_memory, monkeypatch, Allowed(10_000.0, ALL))
    run = Write("", INSIDE, [b"r"] * 5)
    slowed.ask(lambda: succeed("done"), run, 7000)
    waiting = slowed.ask(lambda: fail(ShardFull("full")), run, 7000)
    assert waiting == []
    slowed.clock.advance(0.71)
    assert isinstance(waiting[0], ShardFull)


def test_only_who_changes_what_is_followed(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes of other slots don't count; of a batch that changes some of both only a part does."""
    slowed = Slowed(pulling_in_memory, monkeypatch, Allowed(10_000.0, MOVING))
    for _ in range(5):
        assert slowed.ask(lambda: succeed("done"), Write("", OUTSIDE, [b"r"] * 5), 50_000) == ["done"]
    mixed = Write("", [*INSIDE, *OUTSIDE], [b"r"] * 10)
    assert slowed.ask(lambda: succeed("done"), mixed, 10_000) == ["done"]
    waiting = slowed.ask(lambda: succeed("done"), mixed, 10_000)
    slowed.clock.advance(0.49)
    assert waiting == []
    slowed.clock.advance(0.02)
    assert waiting == ["done"]
    assert slowed.writers._brought([Read("", INSIDE)], 1000) == 0


def test_the_address_is_told(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes over a connection counts for its address, by the bytes of its batch."""
    pulling, found = pulling_in_memory, list[tuple[int, str]]()
    assert pulling.served is not None
    slowed = Slowed(pulling, monkeypatch, Allowed(10_000.0, ALL))

    def wait(_: float, address: str, brought: int) -> float:
        found.append((brought, address))
        return LONGEST + 1

    monkeypatch.setattr(slowed.writers._pace, "wait", wait)
    peer = pulling.served.connect(BoundedAMP(pulling.clock))
    batch = encode_runs([Pop("", INSIDE)])
    answer = watch(peer.call(commands.Apply, 30, epoch=1, batch=batch))
    pulling.served.network.settle()
    ((brought, address),) = found
    assert brought == len(batch)
    assert address
    assert isinstance(answer[0], Overloaded)


def test_slowed_while_behind(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only while the target of a move asks, and has been behind for long; then more and more."""
    pulling, random = pulling_in_memory, Random(1)
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, FOLLOW_BYTES=1))
    pulling.run()
    pulling.catch_up()
    assert pulling.served is not None
    followers = pulling.served.service.followers
    followers.is_of_a_move = lambda name: name == "m"

    def write(seconds: int) -> list[float]:
        """What writers may write in a second, ten times a second."""
        found = list[float]()
        for _ in range(seconds * 10):
            for _ in range(3):
                pulling.source.applied(Write("", [random.choice(INSIDE)], [b"r"]))
            followers.writers.serve([Write("", INSIDE, [b"r"] * 5)], 100, lambda: succeed("done"))
            found.append(followers.writers.allowed.rate)
            pulling.step(0.1)
        return found

    assert write(15) == [inf] * 150  # it isn't behind
    pulling.served.network.delay(*WHERE, 0.05)
    assert set(write(int(settings.FOLLOWED_AT_ONCE) - 2)) == {inf}
    chasing = pulling.pull.progress.chasing
    assert chasing is not None
    assert pulling.clock.seconds() - chasing >= settings.FOLLOWED_AT_ONCE - 3
    slower = write(20)
    assert slower[-1] < inf
    assert followers.writers.allowed.ranges == MOVING
    assert followers.writers.described()["slowed_for"] == "m"
    followers.is_of_a_move = lambda _: False
    assert write(2)[-1] == inf  # it isn't of a move
    followers.is_of_a_move = lambda name: name == "m"
    assert write(2)[-1] < inf
    assert pulling.running is not None
    pulling.running.cancel()
    assert pulling.pull.progress.chasing is None
    write(6)
    assert set(write(6)) == {inf}  # the connection is there, but nobody asks any more


def test_nobody_follows(pulling_in_memory: Pulling) -> None:
    """What is asked of a shard that nobody follows isn't counted."""
    assert pulling_in_memory.served is not None
    followers = pulling_in_memory.served.service.followers
    writers = SlowedWriters(followers._store.followers, followers.late.allowed, pulling_in_memory.clock)
    assert watch(writers.serve([Write("", INSIDE, [b"r"] * 5)], 10**9, lambda: succeed("done"))) == ["done"]
    assert writers._pace.is_due(0.0, 0, inf)
