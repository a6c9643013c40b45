"""Steps of a checkpoint: how long they take, what others have behind them, and what writers may write meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

import pytest
from stores import PLENTY, START, at_once, check_consistent, task

from pyshard.protocol.batch_operations import Has, Write
from pyshard.storage import DataDirectory, Durability, LmdbStore
from pyshard.storage.durable.checkpoint import CheckpointSchedule
from pyshard.storage.durable.checkpoint_allowance import CheckpointAllowance
from pyshard.storage.durable.flush_steps import ASKS, FlushPace, flush_in_time
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.interface import Sender

KEYS = [b"%06d" % number for number in range(10_000)]
MIB = 1024 * 1024


class Disk:
    """Takes some seconds for each record; it is the clock, too."""

    def __init__(self, each: float) -> None:
        self.now, self._each = 0.0, each
        self.flushed: list[bytes] = []

    def seconds(self) -> float:
        """The time."""
        return self.now

    def flush(self, db_keys: Sequence[bytes]) -> None:
        """Flush records."""
        self.now += self._each * len(db_keys)
        self.flushed += db_keys


@pytest.mark.parametrize("several_ask", [False, True])
@pytest.mark.parametrize("each", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
def test_a_step_ends_in_time(each: float, several_ask: bool) -> None:
    """However long a record takes, but for the first piece; it flushes as many as it can, from the front on."""
    disk, most = Disk(each), 0.05 if several_ask else 0.2
    done = flush_in_time(KEYS, disk.flush, disk.seconds, several_ask)
    assert disk.flushed == KEYS[:done]
    assert disk.now <= max(1.2 * most, 16 * each)
    assert done == len(KEYS) or disk.now >= most


def test_nothing_to_flush() -> None:
    """That takes no time."""
    assert flush_in_time([], Disk(1).flush, Disk(1).seconds, True) == 0


def test_a_step_leaves_time_to_others() -> None:
    """Three times as long as it took, if others ask, and it could not flush all that was due."""

    def always(within: float) -> bool:
        return within > 0

    def never(within: float) -> bool:
        return within < 0

    pace = FlushPace()
    assert pace.may_begin(0, always)
    assert pace.end(10.0, 10.1, False, always) == pytest.approx(0.4)
    assert (pace.may_begin(10.39, always), pace.may_begin(10.41, always)) == (False, True)
    assert pace.may_begin(10.11, never)
    assert pace.end(20.0, 20.1, False, never) == pytest.approx(0.1)
    assert pace.end(30.0, 30.1, True, always) == pytest.approx(0.1)
    assert pace.may_begin(30.1, always)


@pytest.mark.parametrize(
    ("every", "waits", "part"),
    [(0.002, 0.0, 0.25), (0.05, 0.0, 0.25), (0.06, 0.06, 0.25), (1.0, 0.0, 0.8), (9.0, 0.0, 0.97), (1000.0, 0.0, 1.0)],
)
def test_nobody_has_time_who_does_not_ask(every: float, waits: float, part: float) -> None:
    """Who asks now and then leaves most of the time to flushes; who asks all the time, or waits, has three quarters."""
    pace, now, flushed, asked = FlushPace(), 0.0, 0.0, 0.0

    def several_ask(within: float) -> bool:
        return now - asked - waits < within

    while now < 60.0:
        asked = now // every * every
        if pace.may_begin(now, several_ask):
            began, now = now, now + 0.05
            asked = now // every * every
            pace.end(began, now, False, several_ask)
            flushed += now - began
        now += 0.0001  # a group
    assert flushed / now == pytest.approx(part, abs=0.03)


def test_writers_have_what_is_left_while_the_checkpoint_goes_on() -> None:
    """So the room is used up no sooner than the checkpoint ends."""
    allowance = CheckpointAllowance()
    allowance.flushed(100, 1.0)
    allowance.look(0.75, 60 * MIB, 100, 900)
    assert allowance.rate == pytest.approx(20 * MIB / 9)
    allowance.look(1.5, 120 * MIB, 100, 900)
    assert allowance.rate == 262_144
    for used, done in ((0.49, 0), (0.75, 800), (0.75, 750)):
        allowance.look(used, 60 * MIB, done, 1000 - done)
        assert allowance.rate == inf


def test_what_is_used() -> None:
    """Records that came since the checkpoint began, or bytes or groups of the log since then."""
    schedule, memtable = CheckpointSchedule(100), Memtable()
    for key in KEYS[:100]:
        memtable.put(key, b"", 0)
    schedule.begin(memtable, 7)
    schedule.allowance.flushed(1, 0.1)
    schedule.look(7, 200, 64 * MIB, 0, False)
    assert (schedule.is_behind, schedule.allowance.rate) == (False, inf)
    schedule.add(1000, 0, 0)
    schedule.look(6, 200, 64 * MIB, 0, False)  # it isn't the disk that it waits for
    assert (schedule.is_behind, schedule.allowance.rate) == (False, inf)
    rates = []
    for changed, size, groups in ((149, 0, 0), (150, 32 * MIB, 0), (100, 48 * MIB, 0), (100, MIB, 75_000)):
        schedule.look(7, changed, size, groups, False)
        assert schedule.is_behind
        rates.append(schedule.allowance.rate)
    assert rates == [inf, pytest.approx(32 * MIB / 10), pytest.approx(16 * MIB / 10), 262_144]


def test_nobody_waits_for_a_checkpoint_that_is_over() -> None:
    """However it ended, also when all came into LMDB at once, or is forgotten."""
    schedule = CheckpointSchedule(100)
    for end in (lambda: schedule.end(7), schedule.stop, lambda: schedule.flushed(1)):
        memtable = Memtable()
        memtable.put(KEYS[0], b"", 0)
        schedule.begin(memtable, 7)
        schedule.allowance.flushed(1, 0.1)
        schedule.add(1000, 0, 0)
        schedule.look(7, 200, 64 * MIB, 0, False)
        assert schedule.is_behind
        assert schedule.allowance.rate < inf
        end()
        assert (schedule.is_behind, schedule.allowance.rate) == (False, inf)


def test_what_is_left_is_due() -> None:
    """With its part of what background work has brought."""
    schedule = CheckpointSchedule(100)
    schedule.begin(Memtable(), 7)
    schedule.add(1000, 0, 100)
    schedule.flushed(1, 0.25)
    assert (schedule.pages_due, schedule.of_background) == (500, 0.1)


def test_who_asks(path: Path) -> None:
    """The engine knows it of those who ask the store."""
    clock = Disk(0)
    store = LmdbStore(DataDirectory(path), lambda: START, steady=clock.seconds)
    engine, found = store._engine, list[bool]()
    for second, address in enumerate(("1", "1", "2", "2", "2")):
        clock.now = 4.0 * second
        at_once(store.apply([task(Has("", [b"a"]))], PLENTY, PLENTY, Sender(address, address)))
        found.append(engine.several_ask(ASKS))
    assert found == [False, False, True, True, True]
    clock.now += 3
    assert not engine.several_ask(ASKS)
    at_once(store.close())


@pytest.mark.parametrize("several_ask", [False, True])
def test_a_slow_disk(path: Path, monkeypatch: pytest.MonkeyPatch, several_ask: bool) -> None:
    """No group waits for long, while others ask most wait for nothing, and writers are told to slow down in time."""
    disk, flush = Disk(0.001), WriteTransaction.flush

    def slow(transaction: WriteTransaction, db_keys: Sequence[bytes]) -> None:
        disk.flush(db_keys)
        flush(transaction, db_keys)

    monkeypatch.setattr(WriteTransaction, "flush", slow)
    left, flushed = list[float](), CheckpointSchedule.flushed

    def noted(schedule: CheckpointSchedule, done: int, part: float) -> None:
        left.append(part)
        flushed(schedule, done, part)

    monkeypatch.setattr(CheckpointSchedule, "flushed", noted)
    store = LmdbStore(
        DataDirectory(path), lambda: START, durability=Durability.NONE, most_changed=2000, steady=disk.seconds
    )
    store._engine.several_ask = lambda _: several_ask  # all the time
    waits, rates = list[float](), list[float]()
    for number in range(200):
        began = disk.now
        keys = KEYS[20 * number : 20 * number + 20]
        at_once(store.apply([task(Write("", keys, [bytes(10)] * 20))], PLENTY, PLENTY))
        if checkpoint := store._engine.checkpoints.current:
            assert set(checkpoint.keys[: checkpoint.done]) <= set(disk.flushed)
        waits.append(disk.now - began)
        rates.append(store.writable)
        disk.now += 0.01
    assert max(waits) <= (0.06 if several_ask else 0.21)
    assert disk.now > 2
    assert not several_ask or max(left) > 0
    assert sum(waits) <= (0.3 if several_ask else 1) * disk.now
    assert (min(rates) < inf) == several_ask
    while at_once(store.sweep(1)):
        disk.now += 0.01
    assert not store._engine.checkpoints.is_behind
    assert store.writable == inf
    check_consistent(store)
    at_once(store.close())
    again = LmdbStore(DataDirectory(path), lambda: START)
    assert again.documents == 4000
    check_consistent(again)
    at_once(again.close())
