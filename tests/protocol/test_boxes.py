"""Boxes ⇄ bytes: what Twisted's own AMP writes and reads, in any pieces, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.protocols import amp

from pyshard.compiled import IN_USE
from pyshard.protocol import boxes
from pyshard.protocol.boxes import LONGEST_VALUE, Box, BoxBreach, BoxParser, Limits, TlsFound, parse_plainly, serialize

boxes_ = st.dictionaries(st.binary(min_size=1, max_size=255), st.binary(max_size=300), max_size=8)


@pytest.fixture
def plain_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is parsed by compiled code."""
    monkeypatch.setattr(boxes, "IN_USE", False)


def parsing(pieces: list[bytes], limits: Limits) -> Iterator[Box]:
    """The boxes out of these bytes, one by one."""
    parser, found = BoxParser(limits), 0
    for piece in pieces:
        parser.feed(piece)
        while (box := parser.next_box()) is not None:
            found += 1
            yield box
    assert parser.boxes == found


def parsed(pieces: list[bytes], limits: Limits = Limits()) -> list[Box]:  # noqa: B008  # frozen
    """The boxes out of these bytes."""
    return list(parsing(pieces, limits))


@given(st.lists(boxes_, max_size=5), st.integers(min_value=1, max_value=50))
def test_boxes_in_pieces(sent: list[Box], size: int) -> None:
    """Boxes come out as they went in, whatever the pieces."""
    data = b"".join(map(serialize, sent))
    pieces = [data[begin : begin + size] for begin in range(0, len(data), size)]
    assert parsed(pieces) == sent


@pytest.mark.parametrize("size", [1000, LONGEST_VALUE, 131_008, 10**6])
def test_chunks_of_a_large_box(size: int) -> None:
    """An argument of several chunks stands in one, whatever the pieces; in a small box it stands as it came."""
    chunks = {b"many": b"3", b"many.0": bytes(LONGEST_VALUE), b"many.1": bytes(LONGEST_VALUE), b"many.2": b"end"}
    others = {b"one": b"1", b"one.0": b"alone", b"number": b"12", b"lost": b"2", b"lost.0": b"here"}
    small = {b"few": b"2", b"few.0": b"a", b"few.1": b"b"}
    data = serialize({**chunks, **others}) + serialize(small)
    joined = {b"many": b"1", b"many.0": bytes(2 * LONGEST_VALUE) + b"end"}
    expected = [{**joined, **others}, small]
    assert parsed([data[begin : begin + size] for begin in range(0, len(data), size)]) == expected
    assert list(parse_plainly(data, Limits())) == expected


small_boxes = st.dictionaries(st.binary(min_size=1, max_size=2), st.binary(max_size=3), min_size=1, max_size=3)
streams = st.lists(
    small_boxes.map(serialize)
    | small_boxes.map(serialize)
    | st.binary(max_size=4)
    | st.sampled_from([b"\0\1k\0\0", b"\0\0", b"\1\0", b"\0\1k\xff\xff"]),
    min_size=2,
    max_size=5,
).map(b"".join)


@given(streams, st.lists(st.integers(0, 9), max_size=20), st.integers(1, 3), st.integers(8, 25))
def test_agrees_with_the_plain_parser(data: bytes, lengths: list[int], keys: int, size: int) -> None:
    """Any bytes in any pieces give the boxes, and the breach, that the plain parser finds in all bytes at once."""
    limits, pieces, begin = Limits(keys=keys, size=size), [], 0
    for length in lengths:
        pieces.append(data[begin : begin + length])
        begin += length

    def until_a_breach(boxes: Iterator[Box]) -> tuple[list[Box], str]:
        found: list[Box] = []
        try:
            found.extend(boxes)  # which keeps what came before an exception
        except BoxBreach as breach:
            return found, "TLS" if isinstance(breach, TlsFound) else str(breach)
        return found, ""

    boxes, breach = until_a_breach(parsing([*pieces, data[begin:]], limits))
    plain_boxes, plain_breach = until_a_breach(parse_plainly(data, limits))
    if breach == "TLS":
        assert data[:2] in (b"\x15\x03", b"\x16\x03")
        breach = plain_breach
    assert (boxes, breach) == (plain_boxes, plain_breach)


def like(carried: bytes, tag: bytes, other: bytes = b"1") -> Box:
    """A box like others that this gives: but for the third value and the last they are the same."""
    return {b"epoch": b"3", b"batch": other, b"batch.0": carried, b"_command": b"Apply", b"_ask": tag}


FIRST, NEXT = serialize(like(b"first", b"1")), serialize(like(b"next one", b"23"))
DAMAGED = [
    *(NEXT[:place] + bytes([byte]) + NEXT[place + 1 :] for place in range(len(NEXT)) for byte in (0, 1, 2, 9, 255)),
    *(NEXT[:length] for length in range(len(NEXT))),
    *(NEXT + more for more in (b"\0", b"\0\0", b"\0\1", NEXT, NEXT[:9])),
    *(NEXT[:place] + NEXT[place + 1 :] for place in range(len(NEXT))),
]
LIMITS = [
    *(Limits(size=len(NEXT) - less) for less in (0, 1)),
    *(Limits(boxes=most) for most in (1, 2)),
    Limits(keys=4),
    Limits(),
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("ask", [True, False])
@pytest.mark.parametrize("compiled", [IN_USE, False])
def test_boxes_of_a_kind_agree_with_the_plain_parser(
    limits: Limits, ask: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box with the outline of the one before is what the plain parser finds, also damaged, cut or over its limits."""
    monkeypatch.setattr(boxes, "IN_USE", compiled)
    for data in [NEXT, *DAMAGED]:
        parser, found, breach, tls = BoxParser(Limits()), list[Box](), "", False
        parser.feed(FIRST)
        assert parser.next_box() == like(b"first", b"1")
        parser.limits = limits
        try:
            if ask and (known := parser.only_box(data)) is not None:
                found.append(known)
                assert parser.size == len(data)
            else:
                parser.feed(data)
            while (box := parser.next_box()) is not None:
                found.append(box)
        except BoxBreach as error:
            breach, tls = str(error), isinstance(error, TlsFound)
        plain, plain_breach = list[Box](), ""
        more = None if limits.boxes is None else limits.boxes - 1
        try:
            plain.extend(parse_plainly(data, attrs.evolve(limits, boxes=more)))
        except BoxBreach as error:
            plain_breach = str(error)
        if limits.boxes is not None:
            plain_breach = plain_breach.replace(f"{more} boxes", f"{limits.boxes} boxes")
        assert not tls
        assert (list(map(pairs, found)), breach) == (list(map(pairs, plain)), plain_breach)
        if not breach:
            assert parser.boxes == 1 + len(found)
            assert parser.begun is (sum(len(serialize(box)) for box in found) < len(data))


def test_bytes_within_a_begun_box_are_no_box_of_a_kind() -> None:
    """Though they look like one."""
    parser = BoxParser(Limits())
    parser.feed(FIRST)
    assert parser.next_box() is not None
    whole = serialize({b"k": NEXT})
    begin = whole.index(NEXT)
    parser.feed(whole[:begin])
    assert parser.next_box() is None
    assert parser.only_box(NEXT) is None
    parser.feed(NEXT)
    assert parser.next_box() is None
    parser.feed(whole[begin + len(NEXT) :])
    assert parser.next_box() == {b"k": NEXT}


def test_one_key_many_times() -> None:
    """Has no outline."""
    parser = BoxParser(Limits())
    for _ in range(2):
        parser.feed(b"\0\1k\0\1x" * 4 + b"\0\0")
        assert parser.next_box() == {b"k": b"x"}


def pairs(box: Box) -> list[tuple[bytes, bytes]]:
    """The pairs of a box, in order."""
    return list(box.items())


def test_the_next_box_of_a_kind_is_known_at_once(plain_parser: None) -> None:
    """A box like the last one but for the third value and the last is known without being parsed."""
    parser = BoxParser(Limits())
    one, other = ({b"a": b"1", b"b": b"1", b"c": value * 9, b"d": value} for value in (b"x", b"yy"))
    parser.feed(serialize(one) * 2)  # boxes that come together are parsed: their outline is of no use
    assert (parser.next_box(), parser.next_box()) == (one, one)
    assert parser.only_box(serialize(one)) is None
    parser.feed(serialize(one))
    assert parser.next_box() == one
    assert parser.only_box(serialize(other)) == other
    assert parser.only_box(serialize({**other, b"b": b"2"})) is None


def test_no_long_outline_is_kept(plain_parser: None) -> None:
    """A peer can't have many bytes kept for it as the outline of a box, nor by a value that changes."""
    parser = BoxParser(Limits())
    for value, kept in ((b"x" * 500, False), (b"x", True)):
        parser.feed(serialize({b"a": value, b"b": b"1", b"c": b"z" * 60_000, b"d": b"1"}))
        assert parser.next_box() is not None
        assert (parser._outline is not None) is kept
        if parser._outline is not None:
            assert sum(map(len, parser._outline._pairs.values())) < 10


@given(boxes_.filter(bool))
def test_the_bytes_are_amps(box: Box) -> None:
    """Twisted's AMP reads what is written here, and writes what is read here."""
    found: list[amp.AmpBox] = amp.parseString(serialize(box))
    assert found == [box]
    assert parsed([amp.AmpBox(box).serialize()]) == [box]


def test_nothing_of_a_box_before_it_ends() -> None:
    """A parser knows that a box has begun, and gives it when it is whole."""
    parser, data = BoxParser(Limits()), serialize({b"key": b"value"})
    assert not parser.begun
    for byte in data[:-1]:
        parser.feed(bytes([byte]))
        assert parser.next_box() is None
        assert parser.begun
    parser.feed(data[-1:])
    assert parser.next_box() == {b"key": b"value"}
    assert not parser.begun


def test_byte_by_byte() -> None:
    """Bytes that come one at a time are joined a few times for each value, not once for each byte."""
    data = serialize({b"k%d" % number: bytes(LONGEST_VALUE) for number in range(4)})
    parser, found, times, last = BoxParser(Limits()), [], 0, b""
    for at in range(len(data)):
        parser.feed(data[at : at + 1])
        found.append(parser.next_box())
        times += parser._data is not last
        last = parser._data
    assert found[:-1] == [None] * (len(data) - 1)
    assert found[-1] == {b"k%d" % number: bytes(LONGEST_VALUE) for number in range(4)}
    assert times < 50


def test_nothing_is_kept_of_what_was_read() -> None:
    """A parser without a begun box holds no bytes, whatever came before."""
    parser, data = BoxParser(Limits()), serialize({b"key": b"value"})
    for pieces in ([data * 1000], [data * 1000 + data[:7], data[7:]]):
        for piece in pieces:
            parser.feed(piece)
            while parser.begun and parser.next_box() is not None:
                pass
        assert (parser._data, parser._pieces, parser.begun) == (b"", [], False)


def test_what_was_given_out_is_served() -> None:
    """Of many boxes that came at once, what was given out isn't unserved any more; a part of a box is."""
    box, parser = serialize({b"key": bytes(100)}), BoxParser(Limits())
    parser.feed(50 * box + box[:40])
    unserved = [parser.unserved]
    for _ in range(50):
        assert parser.next_box() is not None
        unserved.append(parser.unserved)
    assert all(before - after == len(box) for before, after in pairwise(unserved))
    assert parser.next_box() is None
    assert 40 <= parser.unserved <= 50
    parser.feed(box[40:])
    assert parser.next_box() is not None
    assert parser.unserved <= 2


def test_nothing_is_kept_of_a_box_while_the_next_one_comes() -> None:
    """Of a piece with the end of a box and the beginning of the next one only that beginning is kept."""
    parser, data = BoxParser(Limits()), serialize({b"key": b"x" * 60_000})
    parser.feed(data + data[:3])
    while parser.next_box() is not None:
        pass
    assert parser.begun
    assert parser.held < 10
    parser.feed(data[3:] + data)
    assert [parser.next_box(), parser.next_box(), parser.next_box()] == [{b"key": b"x" * 60_000}] * 2 + [None]


@pytest.mark.parametrize("longest", [1, 255])
def test_longest_key(longest: int) -> None:
    """A key has up to 255 bytes."""
    assert parsed([serialize({b"k" * longest: b"v"})]) == [{b"k" * longest: b"v"}]


@pytest.mark.parametrize(
    ("data", "limits", "message"),
    [
        (b"\x01\x00" + b"k" * 256, Limits(), "a key of 256 bytes"),
        (b"\0\x01k\0\0" * 4, attrs.evolve(Limits(), keys=3), "a box past 3 keys"),
        (b"\0\x01k\0\x05value", attrs.evolve(Limits(), size=11), "or 11 bytes"),
    ],
    ids=["key", "keys, though the same", "bytes"],
)
def test_past_the_limits(data: bytes, limits: Limits, message: str) -> None:
    """Bytes that are no box, or a box over its limits, are a breach, in any pieces."""
    with pytest.raises(BoxBreach, match=message):
        parsed([data], limits)
    with pytest.raises(BoxBreach, match=message):
        parsed([bytes([byte]) for byte in data], limits)


def test_at_the_limits() -> None:
    """Boxes with as many keys and bytes as they may have are accepted, one after the other."""
    data = serialize({b"k": b"value", b"l": b""})
    assert len(parsed([data * 3], Limits(keys=2, size=len(data)))) == 3
    with pytest.raises(BoxBreach):
        parsed([data], Limits(keys=2, size=len(data) - 1))
