"""Writers are slowed down whose changes a follower can't catch up with."""

from __future__ import annotations

from random import Random

import attrs
import pytest
from shard.pulling import KEYS, MOVING, REST, Pulling
from shard.served import WHERE
from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import ShardFull
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Pop, Read, Run, Write
from pyshard.settings import settings
from pyshard.shard import served_followers
from pyshard.shard.slowed_writers import WriterPace, level

INSIDE, OUTSIDE = ([key for key in KEYS if in_ranges(slot_of(key), ranges)][:5] for ranges in (MOVING, REST))


def answered(pace: WriterPace, clients: int, took: float, began: float, seconds: float) -> list[float]:
    """When clients are answered that each change one thing after the other, which takes some time."""
    due, found = [began] * clients, list[float]()
    while min(due) < began + seconds:
        due.sort()
        now = due[0]
        found.append(now)
        due[0] = now + max(took, pace.wait(1, now))
    return found


@pytest.mark.parametrize(("clients", "took"), [(1, 0.01), (8, 0.002), (50, 0.05)])
def test_half(clients: int, took: float) -> None:
    """They get half of what they had, and never less, though it is measured again and again."""
    times = answered(WriterPace(), clients, took, 100.0, 50.0)
    rate, first = clients / took, [each for each in times if each < 104.0]
    assert len(first) >= 4.0 * rate * 0.9
    slowed = [each for each in times if 105.0 <= each < 113.0]
    assert 0.45 * rate <= len(slowed) / 8 <= 0.55 * rate
    assert len(times) / 50 >= 0.5 * rate


def test_who_comes_later_is_not_measured_by_who_was_there() -> None:
    """A quiet time doesn't count: neither as what they had, nor for ever."""
    pace = WriterPace()
    assert pace.wait(1, 0.0) == 0.0
    assert pace.wait(1, 500.0) == 0.0
    times = answered(pace, 10, 0.01, 500.5, 20.0)
    assert len(times) / 20 >= 0.5 * 1000 * 0.9


def test_a_slow_moment_does_not_count() -> None:
    """What was measured while a disk was slow isn't halved."""
    pace = WriterPace()
    answered(pace, 10, 0.01, 0.0, 14.5)
    answered(pace, 1, 0.1, 14.5, 4.0)
    times = answered(pace, 10, 0.01, 18.5, 8.0)
    assert len(times) / 8 >= 0.45 * 1000


def test_no_answer_waits_long() -> None:
    """A second at the most, whatever the batches have."""
    pace = WriterPace()
    waits = [pace.wait(1 if number < 100 else 10_000, number * 0.03) for number in range(200)]
    assert 0 < max(waits) <= 1.0


def test_who_changes_little_is_not_slowed() -> None:
    """Beside an address that changes all it can, another one doesn't wait; the first one gets half of both."""
    pace, slowed, due, little = WriterPace(), 0, 0.0, list[float]()
    for number in range(3000):
        now = number * 0.005
        if now >= due:
            due = now + pace.wait(50, now, "much")
            slowed += now >= 5.0
        if number % 10 == 0:
            little.append(pace.wait(1, now, "little"))
    assert max(little) == 0
    assert 0.45 <= slowed * 50 / 10 / 10_000 <= 0.75  # some of that time is measured again


@pytest.mark.parametrize(
    ("rates", "total", "expected"),
    [([10], 5, 5), ([10, 10], 10, 5), ([10, 2], 6, 4), ([2, 10, 2], 7, 3), ([0, 100], 50, 50), ([10], 20, 20)],
)
def test_level(rates: list[float], total: float, expected: float) -> None:
    """Who has less than the level keeps it, the others share the rest."""
    assert level(rates, total) == expected


def test_the_address_is_told(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes over a connection counts for its address."""
    pulling, found = pulling_in_memory, list[str]()
    assert pulling.served is not None
    writers = pulling.served.service.followers.writers
    monkeypatch.setattr(writers, "_behind", lambda: MOVING)
    monkeypatch.setattr(pulling.served.shard, "apply", lambda *_: succeed([Answer([None] * 5, {})]))

    def wait(_: int, __: float, address: str) -> float:
        found.append(address)
        return 0.0

    monkeypatch.setattr(writers._pace, "wait", wait)
    peer = pulling.served.connect(BoundedAMP(pulling.clock))
    batch = encode_runs([Pop("", INSIDE)])
    peer.call(commands.Apply, 30, epoch=1, batch=batch).addErrback(lambda _: None)  # the shard isn't configured
    pulling.served.network.settle()
    assert len(found) == 1
    assert found[0]


def waits(pulling: Pulling, *runs: Run) -> bool:
    """Whether the answer to a batch waits."""
    assert pulling.served is not None
    applied: Deferred[str] = succeed("answer")
    found: list[str] = []
    pulling.served.service.followers.writers.answer(runs, applied).addCallback(found.append)
    waited = not found
    pulling.clock.advance(1.0 if waited else 0)
    assert found == ["answer"]
    return waited


def test_slowed_while_behind(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who changes what is followed, only while the follower asks, and is behind for long."""
    pulling, random = pulling_in_memory, Random(1)
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, FOLLOW_BYTES=1))
    pulling.run()
    pulling.catch_up()
    assert pulling.served is not None
    followers = pulling.served.service.followers
    followers.is_of_a_move = lambda name: name == "m"
    inside, outside = Write("", INSIDE, [b"r"] * 5), Write("", OUTSIDE, [b"r"] * 5)

    def write(seconds: int) -> list[bool]:
        found = list[bool]()
        for _ in range(seconds * 10):
            for _ in range(3):
                pulling.source.applied(Write("", [random.choice(INSIDE)], [b"r"]))
            found.append(waits(pulling, inside))
            pulling.step(0.1)
        return found

    assert not any(write(15))  # it isn't behind
    assert pulling.served is not None
    pulling.served.network.delay(*WHERE, 0.05)
    assert not any(write(int(settings.FOLLOWED_AT_ONCE) - 2))
    chasing = pulling.pull.progress.chasing
    assert chasing is not None
    assert pulling.clock.seconds() - chasing >= settings.FOLLOWED_AT_ONCE - 3
    assert any(write(8))
    is_of_a_move, followers.is_of_a_move = followers.is_of_a_move, lambda _: False
    assert not any(write(8))  # it isn't of a move
    followers.is_of_a_move = is_of_a_move
    assert any(write(8))
    assert not waits(pulling, outside)
    assert not waits(pulling, Read("", INSIDE))
    assert pulling.running is not None
    pulling.running.cancel()
    chased = pulling.pull.progress
    assert chased.chasing is None
    write(6)
    assert not any(write(6))  # the connection is there, but nobody asks any more


def test_failures_wait_too(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is an error stays one."""
    assert pulling_in_memory.served is not None
    writers = pulling_in_memory.served.service.followers.writers
    monkeypatch.setattr(writers, "_behind", lambda: MOVING)
    run, found = Write("", INSIDE, [b"r"] * 5), list[object]()
    for number in range(60):
        failed: Deferred[None] = fail(ShardFull("full"))
        writers.answer([run], failed).addErrback(lambda failure: found.append(failure.check(ShardFull)))
        pulling_in_memory.clock.advance(0.1)
        assert len(found) <= number + 1
    pulling_in_memory.clock.advance(1)
    assert found == [ShardFull] * 60
