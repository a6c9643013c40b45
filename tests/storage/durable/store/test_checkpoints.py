"""How records go from the memtable into LMDB: in checkpoints, in flushes by key, with the log's files by turns."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from stores import PLENTY, START, at_once, check_consistent, task

from pyshard.protocol.batch_operations import Write
from pyshard.storage import DataDirectory, LmdbStore
from pyshard.storage.durable import checkpoint as checkpoints
from pyshard.storage.durable.checkpoint import MOST_GROUPS, PAGE, Checkpoint, CheckpointSchedule
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate
from pyshard.storage.durable.memtable import Memtable


def changed(**sizes: int) -> Memtable:
    """A memtable with records of these sizes."""
    memtable = Memtable()
    for name, size in sizes.items():
        memtable.put(name.encode(), bytes(size), 0)
    return memtable


def test_a_flush_has_so_many_pages() -> None:
    """Each record may cost a page, and a large one as many more as it fills."""
    memtable = changed(a=20, b=4095, c=4096, d=20, e=100_000, f=20)
    checkpoint = Checkpoint(sorted(memtable.records), 7)
    flushes = []
    for pages in (1, 1, 1, 1, 25, 1):
        keys, checkpoint.done = checkpoint.next_keys(memtable, pages)
        flushes.append(keys)
    assert flushes == [[b"a"], [b"b"], [b"c"], [b"d"], [b"e"], [b"f"]]
    assert checkpoint.done == len(checkpoint.keys)
    assert Checkpoint(checkpoint.keys, 7).next_keys(memtable, 4) == ([b"a", b"b", b"c"], 3)
    assert Checkpoint(checkpoint.keys, 7).next_keys(memtable, 1000) == (checkpoint.keys, 6)
    assert Checkpoint(checkpoint.keys, 7).next_keys(memtable, 0) == ([], 0)


def test_what_is_there_already_is_left_out() -> None:
    """Something else may have flushed a record meanwhile."""
    memtable = changed(a=20, b=20, c=20)
    checkpoint = Checkpoint(sorted(memtable.records), 7)
    memtable.discard({b"a": memtable.records[b"a"], b"c": memtable.records[b"c"]})
    assert checkpoint.next_keys(memtable, 1) == ([b"b"], 2)
    assert checkpoint.next_keys(memtable, 5) == ([b"b"], 3)


def test_what_a_flush_takes_is_borne_by_all_changes(path: Path) -> None:
    """It isn't counted for the one change that it goes with, but little by little for what changes anything."""
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=50)
    engine, now = store._engine, [0.0]

    def processor() -> float:
        now[0] += 0.5
        return now[0]

    engine._processor = processor
    deferred = []
    for each in range(200):
        tasks = [task(Write("", [b"%d" % each], [b""]))]
        update = LoggedUpdate(partial(store._execute, tasks=tasks, limit=PLENTY, room=PLENTY))
        deferred.append(engine.commit_first([update]).deferred)
    flushes = [seconds for seconds in deferred if seconds > 0]
    assert len(flushes) > 20
    assert flushes == pytest.approx([0.5] * len(flushes), abs=0.1)
    borne = [-seconds for seconds in deferred if seconds < 0]
    assert 0 < sum(borne) < 0.2 * sum(flushes)
    assert max(borne) < 0.002 * sum(flushes)
    assert sum(deferred) == pytest.approx(engine.checkpoints.costs.owed)
    at_once(store.close())


def test_each_group_bears_some_of_it() -> None:
    """Also one that a member of several replicas takes, else the first writers after it leads would bear all."""
    schedule = CheckpointSchedule(50)
    schedule.costs.add(0.05)
    schedule.add(1, 100, 0)
    assert schedule.costs.owed == pytest.approx(0.05 - 0.00005)
    schedule.add(1, 999 * PAGE, 0)
    assert schedule.costs.owed == 0


def test_checkpoints(path: Path) -> None:
    """A checkpoint begins at many changed records, flushes two for each new one, and frees a file of the log."""
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=50)
    engine = store._engine
    waiting, sequences, files = [], [], []
    for each in range(200):
        at_once(store.apply([task(Write("", [b"%d" % each], [b""]))], PLENTY, PLENTY))
        waiting.append(len(engine.memtable.records))
        sequences.append(engine.lmdb.counters.sequence)
        files.append(engine.log.active.path.name)
    assert waiting[:50] == list(range(1, 51))
    assert waiting[50:76] == [51, *range(50, 25, -1)]  # with each batch one more, and two less
    assert max(waiting) == 51
    assert sequences[:75] == [1] * 75
    assert sequences[76] == 51  # all that was there when the checkpoint began
    turns = [each for each in range(1, 200) if files[each] != files[each - 1]]
    assert turns == [50, 100, 150]
    assert set(files) == {"log-1", "log-2"}
    check_consistent(store)
    at_once(store.close())
    again = LmdbStore(DataDirectory(path), lambda: START)
    assert (again.documents, again._engine.memtable.records) == (200, {})
    at_once(again.close())


def test_a_large_batch_flushes_its_share(path: Path) -> None:
    """A batch flushes in proportion to its size, so that the memtable doesn't grow however fast batches come."""
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=100)
    keys = [b"%d" % each for each in range(1000)]
    for begin in range(0, 1000, 50):
        run = Write("", keys[begin : begin + 50], [b"x" * 20] * 50)
        at_once(store.apply([task(run)], PLENTY, PLENTY))
        assert len(store._engine.memtable.records) <= 150
    check_consistent(store)
    at_once(store.close())


def test_a_checkpoint_goes_on_after_a_restart(path: Path) -> None:
    """What a start replays is flushed as the next batches come, and both files are used again."""
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=10)
    for each in range(12):
        at_once(store.apply([task(Write("", [b"%d" % each], [b""]))], PLENTY, PLENTY))
    store._engine.close()  # without a flush, as a killed process does
    store._directory.close()
    again = LmdbStore(DataDirectory(path), lambda: START, most_changed=10)
    assert len(again._engine.memtable.records) > 8
    before = again._engine.lmdb.counters.sequence
    for each in range(12, 24):
        at_once(again.apply([task(Write("", [b"%d" % each], [b""]))], PLENTY, PLENTY))
    assert again._engine.lmdb.counters.sequence > before
    check_consistent(again)
    assert again.documents == 24
    at_once(again.close())


def test_when_one_begins() -> None:
    """With many records, or a log of many bytes, of which fewer are many where somebody follows, or of many groups."""
    schedule = CheckpointSchedule(100)
    mib = 1024 * 1024
    assert schedule.may_begin(100, 0, 0, False)
    assert not schedule.may_begin(99, 64 * mib - 1, MOST_GROUPS - 1, False)
    assert schedule.may_begin(0, 64 * mib, 0, False)
    assert not schedule.may_begin(0, 16 * mib - 1, 0, True)
    assert schedule.may_begin(0, 16 * mib, 0, True)
    assert schedule.may_begin(1, 0, MOST_GROUPS, False)
    schedule.begin(changed(a=20), 7)
    assert not schedule.may_begin(100, 64 * mib, MOST_GROUPS, True)


def test_a_segment_has_a_bounded_number_of_groups(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if they are tiny and all change the same record."""
    monkeypatch.setattr(checkpoints, "MOST_GROUPS", 10)
    store = LmdbStore(DataDirectory(path), lambda: START, most_changed=100)
    groups = list[int]()
    for _ in range(35):
        at_once(store.apply([task(Write("", [b"1"], [b""]))], PLENTY, PLENTY))
        groups.append(store._engine.log.groups_in_segment)
    assert max(groups) == 10
    check_consistent(store)
    at_once(store.close())


def test_whose_pages_are_due() -> None:
    """The schedule tells which part of the pages that are due background work has brought."""
    schedule = CheckpointSchedule(100)
    assert schedule.of_background == 0
    schedule.add(30, 0, 10)
    schedule.add(0, 10 * PAGE, 0)
    assert (schedule.pages_due, schedule.of_background) == (80, 0.25)
    schedule.begin(changed(a=20), 7)
    assert (schedule.pages_due, schedule.of_background) == (0, 0)
    schedule.add(30, 0, 30)
    assert schedule.of_background == 1
    schedule.flushed(1)
    assert (schedule.pages_due, schedule.of_background, schedule.current) == (0, 0, None)
