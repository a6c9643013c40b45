"""Runs for tests of batches, and what they are on the wire."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
    KEEP,
    LONGEST_TTL,
    PRESENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Run,
    Touch,
    Write,
)

_T = TypeVar("_T")

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.lists(texts.map(str.encode))

#: The shortest record: nil.
NIL = b"\x01\x00\x00\x00\x10\xc0"

#: What a shard takes for a record, without looking into it.
records: st.SearchStrategy[bytes] = st.binary().map(NIL.__add__)


@st.composite
def with_columns(draw: st.DrawFn) -> Run:
    """A run that has more for each key than the key."""
    index, keys = draw(texts), draw(st.lists(texts.map(str.encode), max_size=5))

    def column(values: st.SearchStrategy[_T]) -> list[_T]:
        return draw(st.lists(values, min_size=len(keys), max_size=len(keys)))

    verb = draw(st.sampled_from(["write", "pop", "remove", "touch", "increment"]))
    ttls = column(st.integers(0, LONGEST_TTL))
    if verb == "increment":
        return Increment(index, keys, column(st.binary()), column(st.binary()), draw(st.sampled_from([None, ttls])))
    conditions = draw(st.sampled_from([None, column(st.integers(-2, 2**64 - 1))]))
    if verb == "touch":
        return Touch(index, keys, ttls, conditions)
    if verb == "write":
        kept = [ttl if ttl % 3 else KEEP for ttl in ttls]
        return Write(index, keys, column(records), conditions, draw(st.sampled_from([None, ttls, kept])))
    return Pop(index, keys, conditions) if verb == "pop" else Remove(index, keys, conditions)


run_lists: st.SearchStrategy[list[Run]] = st.lists(
    with_columns() | st.builds(lambda kind, *rest: kind(*rest), st.sampled_from([Read, Has, ReadItem]), texts, keys),
    max_size=8,
)

#: A batch with each verb, with and without what may be left out.
RUNS: list[Run] = [
    Read("", [b"a", b"b"]),
    Has("pages", [b"a"]),
    ReadItem("", [b"a"]),
    Write("", [b"a"], [NIL]),
    Write("", [b"a", b"b"], [NIL, NIL], [ABSENT, ALWAYS], [0, 1000]),
    Pop("", [b"a"]),
    Pop("", [b"a"], [7]),
    Remove("", []),
    Touch("", [b"a"], [5]),
    Touch("", [b"a", b"b"], [5, 0], [PRESENT, 7]),
    Increment("", [b"a"], [b"\x01"], [b"\x02"]),
    Increment("", [b"a"], [b"\x01"], [b"\x02"], [1000]),
]

#: `RUNS`, as every peer reads and writes them.
BYTES = (
    b"\x9c"
    b"\x93\xa4read\xa0\x92\xc4\x01a\xc4\x01b"
    b"\x93\xa3has\xa5pages\x91\xc4\x01a"
    b"\x93\xa4item\xa0\x91\xc4\x01a"
    b"\x96\xa5write\xa0\x91\xc4\x01a\x91\xc4\x06\x01\x00\x00\x00\x10\xc0\xc0\xc0"
    b"\x96\xa5write\xa0\x92\xc4\x01a\xc4\x01b\x92\xc4\x06\x01\x00\x00\x00\x10\xc0\xc4\x06\x01\x00\x00\x00\x10\xc0\x92\x00\xff\x92\x00\xcd\x03\xe8"
    b"\x94\xa3pop\xa0\x91\xc4\x01a\xc0"
    b"\x94\xa3pop\xa0\x91\xc4\x01a\x91\x07"
    b"\x94\xa6remove\xa0\x90\xc0"
    b"\x95\xa5touch\xa0\x91\xc4\x01a\x91\x05\xc0"
    b"\x95\xa5touch\xa0\x92\xc4\x01a\xc4\x01b\x92\x05\x00\x92\xfe\x07"
    b"\x96\xa9increment\xa0\x91\xc4\x01a\x91\xc4\x01\x01\x91\xc4\x01\x02\xc0"
    b"\x96\xa9increment\xa0\x91\xc4\x01a\x91\xc4\x01\x01\x91\xc4\x01\x02\x91\xcd\x03\xe8"
)
