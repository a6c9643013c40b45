"""What every store that outlives a restart has after it, whether it was closed or its process killed."""

from __future__ import annotations

import pytest
from storage.contract.samples import number
from storage.snapshots.bench import count_of, next_page
from stores import NAMED, Bench, weight

from pyshard.model.key_slots import SLOTS
from pyshard.protocol.batch_answers import ITEM
from pyshard.protocol.batch_operations import PRESENT, Has, Increment, Pop, ReadItem, Remove, Touch, Write


def test_a_restart_keeps_everything(durable: Bench) -> None:
    """Documents, indexes, counts, versions, expiries, identity and what was remembered outlive a restart."""
    keys = [b"%d" % each for each in range(100)] + [b"k" * 2000]
    durable.fill(dict.fromkeys(keys, b"one"))
    durable.fill({b"a": b"two", b"b": b"three"}, "pages", ttl=5000)
    durable.result(durable.store.set_indexes(NAMED, text=b"text"))

    def all_of_it() -> list[object]:
        store = durable.store
        return [
            durable.applied(ReadItem("", keys), ReadItem("pages", [b"a", b"b"]), Has("links", [b"a"])),
            [durable.scan(), durable.scan(index="pages")],
            [store.documents, store.used, store.histogram(0, SLOTS, 20), store.identity, store.recall()],
        ]

    before = all_of_it()
    durable.restart()
    assert all_of_it() == before
    version = max(durable.version(key, "pages") for key in (b"a", b"b"))
    durable.fill({b"new": b""})
    assert durable.version(b"new") > version
    assert durable.one(Write("pages", [b"a"], [b""], [durable.version(b"a", "pages")])) is True


def test_a_snapshot_after_a_restart(durable: Bench) -> None:
    """What was there before a restart is in the first snapshot after it, though nothing has been changed since."""
    durable.fill({b"a": b"one", b"b": b"two"})
    durable.restart()
    snapshot = durable.store.snapshot()
    count = count_of(snapshot)
    rows = sorted((row.key, row.record) for row in next_page(snapshot))
    snapshot.close()
    assert (count, rows) == (2, [(b"a", b"one"), (b"b", b"two")])


@pytest.mark.parametrize("key", [b"short", b"long" * 200])
def test_what_was_made_and_removed_within_a_batch(durable: Bench, key: bytes) -> None:
    """It has left nothing after a restart, whether it was there before or not."""
    for _ in range(2):
        assert durable.answers(Write("", [key], [b"one"]), Pop("", [key])) == [[True], [b"one"]]
        durable.restart()
        assert (durable.store.documents, durable.store.used, durable.scan()) == (0, 0, [])
        durable.fill({key: b"old"})
        durable.restart()


def test_versions_rise_over_a_restart_without_records(durable: Bench) -> None:
    """The versions of records that are gone aren't given again."""
    durable.fill({b"a": b""})
    version = durable.version(b"a")
    durable.one(Remove("", [b"a"]))
    durable.restart()
    durable.fill({b"a": b""})
    assert durable.version(b"a") > version


def test_conditions_and_times_to_live_after_a_restart(durable: Bench) -> None:
    """What conditions let pass, and when what was touched and counted expires, is the same after a restart."""
    keys = [b"a", b"b", b"made", b"counted", b"x"]
    durable.fill({b"a": b"one", b"b": b"two", b"counted": number(1)}, ttl=60_000)
    version = durable.version(b"a")
    changes = (
        Touch("", [b"a", b"b", b"x"], [5000] * 3, [version, version, PRESENT]),
        Write("", [b"b", b"x"], [b"three", b"new"], [PRESENT, PRESENT], [9000, 9000]),
        Increment("", [b"made", b"counted"], [number(1)] * 2, [number(0)] * 2, [7000, 7000]),
    )
    assert durable.answers(*changes) == [[True, False, False], [True, False], [number(1), number(2)]]
    (before,) = durable.applied(ReadItem("", keys))
    expiries = [ITEM.unpack_from(item)[1] - durable.now for item in before if isinstance(item, bytes)]
    assert expiries == [5000, 9000, 7000, 60_000]
    durable.restart()
    assert durable.applied(ReadItem("", keys)) == [before]


def test_time_passes_while_it_is_stopped(durable: Bench) -> None:
    """What expires while the store is closed isn't seen when it is open again, and its room comes back."""
    durable.fill({b"a": b"", b"b": b"", b"c": b""}, ttl=1000)
    durable.fill({b"c": b""}, ttl=1001)
    durable.close()
    durable.clock.advance(1)
    durable.open()
    assert durable.answers(Has("", [b"a", b"b", b"c"])) == [[False, False, True]]
    assert durable.store.documents == 3
    durable.sweep()
    assert (durable.store.documents, durable.store.used) == (1, weight(b"c", b"", 1001))


def test_dropped_indexes_are_swept_away_after_a_restart(durable: Bench) -> None:
    """What a dropped index held stays out of sight, and its sweeping goes on where it was."""
    durable.fill({b"%d" % each: b"" for each in range(20)}, "pages", ttl=1000)
    durable.fill({b"a": b""})
    durable.result(durable.store.set_indexes({"links": 2}))
    durable.result(durable.store.sweep(5))
    used = durable.store.used
    durable.restart()
    assert durable.store.documents == 1
    assert durable.store.used <= used  # what only the log had is passed over
    assert durable.one(Has("pages", [b"1"])) == "INDEX_NOT_FOUND"
    durable.sweep(5)
    assert (durable.store.documents, durable.store.used) == (1, weight(b"a", b""))
    durable.clock.advance(1)
    durable.sweep()
    assert durable.store.documents == 1


def test_limit_holds_over_a_restart(durable: Bench) -> None:
    """A store that is full is full after a restart too."""
    durable.fill({b"a": b"12345"})
    limit = durable.store.used
    durable.restart()
    assert durable.one(Write("", [b"b"], [b""]), limit) == "SHARD_FULL"
    assert durable.one(Pop("", [b"a"]), limit) == b"12345"
    assert durable.one(Write("", [b"b"], [b"12345"]), limit) is True
