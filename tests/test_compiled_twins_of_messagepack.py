"""The compiled twin for MessagePack that is looked at before it is decoded gives what the plain one gives."""

from __future__ import annotations

import msgspec
from compiled_twins import built
from hypothesis import example, given
from hypothesis import strategies as st
from model.test_messagepack_faults import anything, of_one_hash

from pyshard.compiled import messagepack_leaves
from pyshard.model.element_limit import elements_in_plainly
from pyshard.model.messagepack_faults import place_of_fault_plainly


def same(body: bytes, big_int: int = 1, most_nesting: int = 100) -> object:
    """What both give."""
    expected = place_of_fault_plainly(body, big_int, most_nesting)
    for some in (body, memoryview(body), memoryview(b"?" + body)[1:]):
        assert messagepack_leaves.place_of_fault(some, big_int, most_nesting) == expected
    return expected


def same_number(body: bytes, most: int = 1 << 40) -> int:
    """How many elements both count."""
    expected = elements_in_plainly(body, most)
    for some in (body, memoryview(body), memoryview(b"?" + body)[1:]):
        assert messagepack_leaves.elements_in(some, most) == expected
    return expected


@built
@given(st.binary(max_size=60))
@example(b"\xc1")
@example(b"")
@example(of_one_hash(2))
@example(b"\x92" + of_one_hash(2))
def test_any_bytes(body: bytes) -> None:
    """Damaged ones, too."""
    same(body)
    same_number(body)
    same_number(body, 3)


@built
@given(anything, st.integers(0, 200), st.integers(0, 3), st.integers(-1, 2))
def test_any_messagepack(value: object, cut: int, most_nesting: int, big_int: int) -> None:
    """Whole, cut short, and with other limits."""
    body = msgspec.msgpack.encode(value)
    same(body)
    same(body[:cut])
    same(body, big_int, most_nesting)
    same_number(body)
    same_number(body[:cut])
    same_number(body, most_nesting)


@built
@given(
    st.lists(
        st.sampled_from([bytes([first]) for first in range(0x80, 0x100)])
        | st.sampled_from([b"\0", b"\1", b"\0\0", b"\0\1", b"\0\0\0\1", b"\xff" * 4, bytes(16)]),
        max_size=30,
    )
)
def test_heads(parts: list[bytes]) -> None:
    """Heads of all kinds, one behind the other."""
    same(b"".join(parts))
    same_number(b"".join(parts))


@built
def test_deep() -> None:
    """As deep as it may be, and deeper."""
    assert same(b"\x91" * 100 + b"\xc0") is None
    assert same(b"\x91" * 101 + b"\xc0") == ([0] * 100, 100, False)
    assert same(b"\x81\xa0" * 101 + b"\xc0") == ([-2 - 2 * depth for depth in range(100)], 200, False)
    assert same(b"\x91" * 100_000) == ([0] * 100, 100, False)
