"""Keys, records and runs that tests of the contract share."""

from __future__ import annotations

from functools import partial
from itertools import count

from hypothesis import strategies as st

from pyshard.model import document_encoding
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import ABSENT, Write

#: Writes that must not replace anything.
add = partial(Write, conditions=[ABSENT])


def number(value: int) -> bytes:
    """The record of an int."""
    return document_encoding.encode(value)[0]


def neighbors() -> tuple[bytes, bytes, bytes]:
    """Three keys, in order, that share one slot of the default index."""
    by_slot: dict[int, list[bytes]] = {}
    for each in count():
        key = b"%d" % each
        same = by_slot.setdefault(slot_of(key), [])
        same.append(key)
        if len(same) == 3:
            first, second, third = sorted(same)
            return first, second, third
    raise AssertionError


key_sets = st.sets(
    st.binary(max_size=6)
    | st.integers(0, 2000).map(lambda each: b"%d" % each)
    | st.integers(0, 9).map(lambda each: b"%d" % each * 600),
    max_size=60,
)
