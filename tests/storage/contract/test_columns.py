"""Plain runs of writes, which stores take in columns, do in every store what writes one by one do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from stores import FAST_KINDS, PLENTY, Bench, prepared

from pyshard.model.key_slots import SLOTS
from pyshard.protocol.batch_operations import ALWAYS, ReadItem, Write

KEYS = [b"", *(b"key%d" % number for number in range(5)), b"k" * 502, b"k" * 503, b"l" * 600]

#: A run: keys, of which some may be there twice, with records; and a time to live that they were given before.
runs = st.tuples(
    st.lists(st.tuples(st.sampled_from(KEYS), st.binary(max_size=20)), max_size=12),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from([500, 1000, 2000]), max_size=3),
)


def everything(bench: Bench) -> object:
    """All that can be seen of a store."""
    store = bench.store
    items = bench.applied(ReadItem("", KEYS))
    return items, store.documents, store.used, store.histogram(0, SLOTS, 20), bench.scan()


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(st.lists(runs, max_size=4), st.sampled_from([PLENTY, 1000]))
@hypothesis_settings(max_examples=40)
def test_columns_and_one_by_one(
    kind: str, steps: list[tuple[list[tuple[bytes, bytes]], dict[bytes, int]]], limit: int
) -> None:
    """A condition that is always met has the executor go one by one: results, records, versions and counts agree.

    At a small limit columns aren't used unless everything fits, so that both refuse the same writes.
    """
    with prepared(kind) as in_columns, prepared(kind) as one_by_one:
        for pairs, expiring in steps:
            keys, records = [key for key, _ in pairs], [record for _, record in pairs]
            results = []
            for bench, conditions in ((in_columns, None), (one_by_one, [ALWAYS] * len(keys))):
                for key, ttl in expiring.items():
                    bench.applied(Write("", [key], [b"old"], None, [ttl]))
                bench.clock.advance(1)
                results.append(bench.applied(Write("", keys, records, conditions), limit=limit))
            assert results[0] == results[1]
            assert everything(in_columns) == everything(one_by_one)
