"""The compiled twins and the plain functions: each gives what the other gives, or leaves it to the other.

Where nothing was compiled, there is nothing to compare. The last test says that only a compiler may be missing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import msgspec
import pytest
from compiled_twins import built, plainly, records
from hypothesis import example, given
from hypothesis import strategies as st
from model.document_samples import alike, flat_dicts, trees

import pyshard
from pyshard.client_core import bulk_outcomes, result_decoding
from pyshard.compiled import IN_USE, document_leaves, key_leaves
from pyshard.model import bulk_document_encoding, document_encoding, document_size, key_slots, shard_map, slot_ranges
from pyshard.model.strict_messagepack import DECODE_ERRORS, quick_document
from pyshard.protocol.batch_answers import VERSION, Answer, Result, decode_answers, encode_answers
from pyshard.protocol.batch_operations import Read
from pyshard.settings import settings

MOST_BYTES, MOST_NESTING, MOST_ELEMENTS = settings.MAX_DOCUMENT_BYTES, settings.MAX_NESTING, settings.MAX_ELEMENTS

any_text = st.text() | st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010))
any_key = any_text | st.integers() | st.floats() | st.none() | st.binary() | st.booleans()
odd = st.sampled_from([object(), {1, 2}, 2**64, -(2**63) - 1, {1: 2}, "\ud800", {"\ud800": 1}, b"", (), ((),)])
any_document = trees | flat_dicts | odd | st.lists(trees | odd) | st.dictionaries(any_text, trees | odd)


class Text(str):
    """A subclass of str."""


class Number(int):
    """A subclass of int."""


# ---------------------------------------------------------------------- keys


@built
@given(st.lists(st.binary(max_size=300)), st.binary(max_size=80))
@example([bytes(length) for length in range(200)], b"")
@example([bytes(length) for length in range(200)], b"pages")
def test_slots(keys: list[bytes], index: bytes) -> None:
    """Keys of any length, in any index."""
    expected = [key_slots.slot_of_plainly(key, index) for key in keys]
    assert key_leaves.slots_of(keys, index) == expected
    assert key_leaves.slots_of(iter(keys), index) == expected
    assert [key_leaves.slot_of(key, index) for key in keys] == expected
    assert key_slots.slots_of_plainly(keys, index) == expected


@built
def test_slots_of_many_keys() -> None:
    """So many that each way of rounding a number of 128 bits to a float is among them."""
    keys = [b"%d" % number for number in range(200_000)]
    assert key_leaves.slots_of(keys) == key_slots.slots_of_plainly(keys)


@built
@given(st.lists(st.integers(0, key_slots.SLOTS - 1), min_size=1))
def test_span(slots: list[int]) -> None:
    """The least and the greatest slot."""
    assert key_leaves.span(slots) == slot_ranges.span_plainly(slots)
    with pytest.raises(ValueError, match="no slots"):
        key_leaves.span([])


@built
@given(st.lists(st.integers(0, 99)), st.sets(st.integers(1, 99)), st.randoms())
def test_split(slots: list[int], bounds: set[int], random: Random) -> None:
    """Each slot goes to the shard that owns its range, be there one range or many, and of few shards or many."""
    starts = [0, *sorted(bounds)]
    numbers = [random.randrange(5) for _ in starts]
    assert key_leaves.split(slots, starts, numbers, 5) == shard_map.split_plainly(slots, starts, numbers, 5)


@built
@pytest.mark.parametrize("key", [None, "text", 1, bytearray(b"x")])
def test_what_is_no_text_of_a_key(key: object) -> None:
    """Is refused by its type."""
    with pytest.raises(TypeError):
        key_leaves.slots_of([key])  # type: ignore[list-item]  # the test's point
    with pytest.raises(TypeError):
        key_leaves.slot_of(key)  # type: ignore[arg-type]  # the test's point


@built
@given(st.lists(any_key), st.integers(0, 8))
@example(["a", Text("b")], 8)
@example(["a\0b", ""], 8)
def test_texts(keys: list[object], longest: int) -> None:
    """The texts of keys that are all str and short enough; nothing where one is another thing."""
    simple = all(type(key) is str and not any("\ud800" <= one <= "\udfff" for one in key) for key in keys)
    fit = simple and all(len(str(key).encode()) <= longest for key in keys)
    assert key_leaves.keys_bytes(keys, longest) == ([str(key).encode() for key in keys] if fit else None)


@built
@given(any_document)
@example([[[[[[[[[[[[]]]]]]]]]]]])
@example(Number(1))
@example({Text("a"): 1})
def test_records(document: object) -> None:
    """A record is the plain twin's; what has none is left to it, as is what holds subclasses and ints past 64 bits."""
    expected = plainly(document)
    found = document_leaves.record_of(document, document_encoding.encode_body, MOST_BYTES, MOST_NESTING, MOST_ELEMENTS)
    size = document_leaves.plain_size(document, MOST_BYTES, MOST_NESTING)
    assert found in (None, expected)
    assert found is not None or expected is None or _is_special(document)
    if expected is not None:
        assert size == (None if _is_special(document) else expected[1])
        assert document_encoding.encode(document) == expected


def _is_special(document: object) -> bool:
    """Whether a document holds what the compiled twin leaves to the plain one."""
    walk = document_size.DocumentWalk()
    walk.size(document, 0)
    return walk.special


@built
@given(any_document, st.integers(0, 200), st.integers(0, 4))
def test_limits_of_documents(document: object, most_bytes: int, most_nesting: int) -> None:
    """Nothing past a limit is taken, and nothing within it is left."""
    found = document_leaves.record_of(document, document_encoding.encode_body, most_bytes, most_nesting, MOST_ELEMENTS)
    unlimited = document_leaves.record_of(
        document, document_encoding.encode_body, MOST_BYTES, MOST_NESTING, MOST_ELEMENTS
    )
    fits = unlimited is not None and len(unlimited[0]) - 5 <= most_bytes and _depth(document) <= most_nesting
    assert found == (unlimited if fits else None)


def _depth(document: object) -> int:
    """How many lists and dicts deep a document is."""
    if isinstance(document, dict):
        document = list(document.values())
    return 1 + max(map(_depth, document), default=0) if isinstance(document, list | tuple) else 0


@built
def test_a_document_in_itself() -> None:
    """Is left to the plain twin, which refuses it."""
    document: list[object] = []
    document.append(document)
    assert document_leaves.plain_size(document, MOST_BYTES, MOST_NESTING) is None


@built
def test_one_huge_list_many_times() -> None:
    """What is sure to be too large is left before it is written out."""
    document: object = ["x" * 1000] * 1000
    for _ in range(MOST_NESTING - 1):
        document = [document] * 1000
    assert document_leaves.plain_size(document, MOST_BYTES, MOST_NESTING) is None


@built
@given(alike() | st.lists(any_document), st.integers(0, 300))
def test_many_records(documents: list[object], room: int) -> None:
    """Many records are those of each, until there is no more room."""
    found = document_leaves.records_of(
        documents, room, document_encoding.encode_body, MOST_BYTES, MOST_NESTING, MOST_ELEMENTS
    )
    if found is not None:
        assert found == bulk_document_encoding.encode_many_plainly(documents, room)


@built
@given(st.lists(any_document), st.lists(st.binary(max_size=20)))
def test_found_records(documents: list[object], damaged: list[bytes]) -> None:
    """What `read` gives for some answers, damaged ones too, is what the plain way gives."""
    results = [*records(documents), *damaged]
    slots = [number * 128 for number in range(len(results))]
    run = Read("", [b"key"] * len(results))
    expected = [result_decoding._record(run, b"key", *pair) for pair in zip(slots, results, strict=True)]
    found = document_leaves.found_records(results, slots, VERSION.size, quick_document, MOST_ELEMENTS)
    if found is None:
        found = result_decoding.outcomes_of(run, slots, (), list(results))
    assert list(map(repr, found)) == list(map(repr, expected))  # nan is a document, too


@built
@given(st.binary(min_size=1, max_size=12) | st.integers(-(2**63), 2**64 - 1).map(msgspec.msgpack.encode))
@example(b"\xcf\0\0\0\0\0\0\0\5")
@example(b"\xa2\xed\xa0")
@example(b"\xd9\2\xc3\xa4")
@example(msgspec.msgpack.encode("ä" * 127))
@example(msgspec.msgpack.encode("x" * 256))
def test_numbers_and_texts(body: bytes) -> None:
    """A document that is one number or one text is what msgspec makes of it, however it is written."""
    try:
        expected: list[object] | None = [{"hash_": 0.0, "record": quick_document(body)}]
    except DECODE_ERRORS:
        expected = None
    result = bytes(VERSION.size) + document_encoding.HEAD.pack(document_encoding.FORMAT, 1) + body
    found = document_leaves.found_records([result], [0], VERSION.size, quick_document, MOST_ELEMENTS)
    assert repr(found) == repr(expected)


@built
@given(st.binary(max_size=300), st.sampled_from([1, 2, 4]), st.integers(-2, 2))
@example(b"", 1, 0)
@example(bytes(2**16), 4, 0)
@example(bytes(2**16 - 1), 2, 0)
def test_found_bytes(data: bytes, width: int, more: int) -> None:
    """Bytes with a length of any width are found; where it isn't their length, the plain way says what is wrong."""
    length = max(0, len(data) + more) % 256**width
    body = bytes([{1: 0xC4, 2: 0xC5, 4: 0xC6}[width]]) + length.to_bytes(width, "big") + data
    for end in (len(body), 1, 2):
        result = bytes(VERSION.size) + document_encoding.HEAD.pack(document_encoding.FORMAT, 40) + body[:end]
        found = document_leaves.found_records([result], [7], VERSION.size, quick_document, MOST_ELEMENTS)
        plain = result_decoding._record(Read("", [b"key"]), b"key", 7, result)
        assert repr(found) == (repr(None) if isinstance(plain, Exception) else repr([plain]))


@built
@given(st.lists(any_document), st.lists(st.binary(max_size=20), max_size=1))
def test_found_documents(documents: list[object], damaged: list[bytes]) -> None:
    """What `get` gives for some answers is what the plain way gives; a damaged one is left to it."""
    results = [*records(documents), *damaged]
    run = Read("", [b"key"] * len(results))
    expected = [result_decoding._record(run, b"key", 0, result) for result in results]
    found = document_leaves.found_documents(results, "none", VERSION.size, quick_document, MOST_ELEMENTS)
    if found is not None:
        plain = ["none" if one is None else one["record"] for one in expected]  # type: ignore[index]  # no error
        assert list(map(repr, found)) == list(map(repr, plain))


@built
@given(st.lists(st.integers() | st.none() | st.text(max_size=1)), st.randoms(use_true_random=False))
def test_placed(outcomes: list[object], random: Random) -> None:
    """Each outcome is at its position, and all types are told."""
    positions = random.sample(range(2 * len(outcomes)), len(outcomes))
    ours: list[object] = [None] * (2 * len(outcomes))
    theirs = list(ours)
    kinds = document_leaves.placed(ours, positions, outcomes)
    assert kinds == bulk_outcomes.placed_plainly(theirs, positions, outcomes)
    assert ours == theirs
    with pytest.raises(IndexError):
        document_leaves.placed(ours, [len(ours)], [1])
    with pytest.raises(ValueError, match="more"):
        document_leaves.placed(ours, [], [1])


@built
@given(st.lists(any_document), st.lists(st.binary(max_size=20) | st.just(bytes(8)), max_size=1), st.integers(0, 99))
def test_answered_records(documents: list[object], damaged: list[bytes], cut: int) -> None:
    """The bytes of an answer give what its results give; whatever else they are is left to the plain way."""
    results: list[Result] = [*records(documents), *damaged]
    slots = list(range(len(results)))
    data = encode_answers([Answer(results, {})])

    def answered(data: bytes, slots: list[int] = slots) -> list[object] | None:
        return document_leaves.answered_records(data, slots, VERSION.size, quick_document, MOST_ELEMENTS)

    expected = document_leaves.found_records(results, slots, VERSION.size, quick_document, MOST_ELEMENTS)
    assert repr(answered(data)) == repr(expected)  # nan is a document, too
    assert answered(data[: cut * len(data) // 100]) is None
    for other in (data + b"\xc0", data[:-1] + b"\x81", encode_answers([Answer(results, {0: ("Busy", "why")})])):
        assert answered(other) is None
    assert answered(data, [*slots, 0]) is None
    assert answered(encode_answers([Answer(results, {})] * 2)) is None


@built
@given(st.binary(max_size=60))
@example(b"\x91\x92\x91\xc6\xff\xff\xff\xff\x80")
@example(b"\x91\x92\xdd\xff\xff\xff\xff\x80")
def test_any_bytes_as_an_answer(data: bytes) -> None:
    """They give outcomes only where the plain way has the same results."""
    for count in range(3):
        found = document_leaves.answered_records(
            b"\x91\x92" + data, list(range(count)), VERSION.size, quick_document, MOST_ELEMENTS
        )
        if found is not None:
            [answer] = decode_answers(b"\x91\x92" + data, [Read("", [b"key"] * count)])
            assert not answer.errors
            assert len(answer.results) == count


@built
def test_what_has_to_be_counted_is_left() -> None:
    """A document of more bytes than needn't be counted isn't decoded."""
    result = bytes(VERSION.size) + document_encoding.encode([1, 2, 3])[0]
    assert document_leaves.found_records([result], [0], VERSION.size, quick_document, 4) == [
        {"hash_": 0.0, "record": [1, 2, 3]}
    ]
    assert document_leaves.found_records([result], [0], VERSION.size, quick_document, 3) is None
    assert document_leaves.record_of([1, 2, 3], msgspec.msgpack.encode, MOST_BYTES, MOST_NESTING, 3) is None


# ---------------------------------------------------------------------- whether they are there


@pytest.mark.skipif(Path(pyshard.__file__).parent == Path(__file__).parents[1] / "pyshard", reason="it isn't installed")
@pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("cc")), reason="there is no compiler")
def test_they_are_in_use() -> None:
    """Where there is a compiler, an installed pyshard uses them, unless it is told not to."""
    assert key_leaves is not None
    assert IN_USE is (os.environ.get("PYSHARD_COMPILED") != "0")
