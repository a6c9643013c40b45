"""How the map of a durable store grows."""

from __future__ import annotations

import time
from pathlib import Path

from conftest import TakeErrors
from storage.durable.store.broken import Broken, until_refused
from storage.durable.store.opened import lmdb_of, map_size, opened
from stores import PLENTY, SMALL_MAP, Bench, at_once, check_consistent, task

from pyshard.protocol.batch_operations import Has, Increment, Read, Write


def test_the_map_grows(bench: Bench) -> None:
    """A full map is doubled, and the change that filled it is stored; the map is as large after a restart."""
    records = {b"%d" % each: bytes([each]) * 5000 for each in range(200)}
    for key, record in records.items():
        bench.fill({key: record})
    assert bench.answers(Read("", list(records))) == [list(records.values())]
    assert map_size(bench.store) > 8 * SMALL_MAP
    check_consistent(lmdb_of(bench))
    bench.restart()
    assert map_size(bench.store) >= len(records) * 5000
    assert bench.answers(Read("", list(records))) == [list(records.values())]


def test_the_map_grows_many_times_at_once(bench: Bench) -> None:
    """One change may need a map that is many times as large; each of its operations is applied once."""
    large = bytes(range(256)) * 40_000
    one = b"\x01\0\0\0\x1c\x01"
    counting = Increment("", [b"n", b"n"], [one, one], [one, one])
    answers = bench.answers(counting, Write("", [b"large"], [large]), counting)
    assert [each[-1] for each in answers] == [b"\x01\0\0\0\x1c\x03", True, b"\x01\0\0\0\x1c\x05"]
    assert bench.one(Read("", [b"large"])) == large
    check_consistent(lmdb_of(bench))


def test_the_map_grows_under_reads(threaded: Bench) -> None:
    """Reads in the reactor's thread and growth in the writer's don't disturb each other."""
    store = lmdb_of(threaded)
    threaded.fill({b"a": b"here"})
    store._engine.environment.set_mapsize(SMALL_MAP)
    keys = [b"%d" % each for each in range(400)]
    reads = 0
    for begin in range(0, len(keys), 50):
        some = keys[begin : begin + 50]
        asked = [store.apply([task(Write("", [key], [key * 1000]))], PLENTY, PLENTY) for key in some]
        while not asked[-1].called:
            threaded.calls.make_waiting()
            assert threaded.one(Read("", [b"a"])) == b"here"
            assert set(threaded.scan(most=50)) <= {b"a", *keys}
            reads += 1
            time.sleep(0.001)  # the lock isn't fair: who takes it again at once may have the writer wait for minutes
    assert reads > 1
    assert map_size(store) > SMALL_MAP
    assert threaded.answers(Read("", keys)) == [[key * 1000 for key in keys]]


def test_the_first_map_is_large_enough_for_the_data(path: Path) -> None:
    """A store opens with a map twice as large as its data, however small its first map is to be."""
    store = opened(path, first_map=1 << 24)
    run = Write("", [b"%d" % each for each in range(50)], [b"x" * 50_000] * 50)
    at_once(store.apply([task(run)], PLENTY, PLENTY))
    at_once(store.close())
    again = opened(path, first_map=SMALL_MAP)
    assert map_size(again) >= 2 * 2_500_000
    assert at_once(again.apply([task(Has("", [b"49"]))], PLENTY, PLENTY))[0].results == [True]
    at_once(again.close())


def test_the_address_space_is_used_up(bench: Bench, logged_errors: TakeErrors) -> None:
    """When the map can't grow, changes fail once a flush is due; those that were acknowledged can be read."""
    broken = Broken(lmdb_of(bench))
    broken.grows = False
    stored = {b"%d" % each: bytes(10 * SMALL_MAP) for each in range(3)}
    bench.fill(stored)
    until_refused(bench, stored, "no room for a map")
    assert len(logged_errors(AssertionError)) == 1
    assert sorted(bench.scan()) == sorted(stored)
    broken.grows = True
    bench.fill({b"small": b""})
    assert sorted(bench.scan()) == sorted([*stored, b"small"])
    check_consistent(lmdb_of(bench))
