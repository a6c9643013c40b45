"""How many bytes of records a batch writes beside those that it brings, as each kind of store tells before it does."""

from __future__ import annotations

import pytest
from stores import PLENTY, Bench, task

from pyshard.model.document_encoding import encode
from pyshard.protocol.batch_operations import Increment, Run, Touch, Write
from pyshard.settings import settings
from pyshard.storage import Task

MB = 1_000_000
ONE, _ = encode(1)


def filled(bench: Bench, size: int, count: int) -> list[bytes]:
    """Keys of as many records as were written, of a size each."""
    keys = [b"%d" % number for number in range(count)]
    bench.result(bench.store.apply([task(Write("", keys, [bytes(size)] * count))], PLENTY, PLENTY))
    return keys


@pytest.mark.parametrize("run", [Touch("", [b"0"], [1000]), Increment("", [b"0"], [ONE], [ONE])])
def test_one_large_record(bench: Bench, run: Run) -> None:
    """A few bytes may write the largest document there is."""
    filled(bench, 3 * MB, 1)
    assert 3 * MB <= bench.store.will_copy([task(run)]) < 3.01 * MB


def test_many_small_records(bench: Bench) -> None:
    """Thousands of small records together are many bytes, too."""
    keys = filled(bench, 500, 5000)
    copied = bench.store.will_copy([task(Touch("", keys, [1000] * 5000))])
    assert 2.5 * MB <= copied < 4 * MB
    assert bench.store.will_copy([task(Touch("", keys[:1], [1000]))]) < 1000
    assert bench.store.will_copy([Task(Touch("", keys, [1000] * 5000), 99, [0] * 5000)]) == 0


def test_some_larger_ones_among_many_small_records(bench: Bench) -> None:
    """Each by itself is no large record, and far above the average. Together they are as many bytes as one."""
    filled(bench, 10, 9000)
    keys = [b"larger %d" % number for number in range(100)]
    bench.result(bench.store.apply([task(Write("", keys, [bytes(20_000)] * 100))], PLENTY, PLENTY))
    assert 2 * MB <= bench.store.will_copy([task(Touch("", keys, [1000] * 100))]) < 2.1 * MB


def test_no_more_than_a_batch_may_copy(bench: Bench) -> None:
    """A shard refuses what is behind that, so it doesn't count."""
    keys = filled(bench, 5 * MB, 4)
    assert bench.store.will_copy([task(Touch("", keys * 3, [1000] * 12))]) == settings.BATCH_WORK


def test_nothing_is_found(bench: Bench) -> None:
    """What isn't there, or is of an index that isn't, counts nothing."""
    filled(bench, 3 * MB, 1)
    touch = Touch("", [b"another"], [1000])
    assert bench.store.will_copy([task(touch)]) == 0
    assert bench.store.will_copy([Task(Touch("", [b"0"], [1000]), 99, [0])]) == 0
