"""Many documents at once: each is encoded and decoded as it is alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.document_samples import alike, at_most, trees

from pyshard.errors import DocumentTooLarge, InvalidDocument, UnreadableRecord
from pyshard.model.bulk_document_encoding import (
    decode_many,
    decode_many_plainly,
    encode_many,
    encode_many_plainly,
    sizes_by_columns,
)
from pyshard.model.document_encoding import encode
from pyshard.model.document_size import values_size

FLAT = {
    "name": "Zürich",
    "lat": 47.4,
    "n": 7,
    "zero": 0,
    "none": None,
    "yes": True,
    "no": False,
    "emoji": "🛫",
    "": "ß",
}


@pytest.mark.parametrize(
    "together",
    [
        [],
        [FLAT],
        [FLAT, {}, {"a": 2**30 - 1, "b": -(2**30) + 1}],
        [FLAT, {"a": 2**30}, {"a": 2**70}],
        [FLAT, {"nested": {"a": [1]}}],
        [{"nested": [1, (2,)]}, FLAT],
        [FLAT, "text", None, 7, [1]],
        [{"a": b"bytes"}, FLAT],
        [FLAT, FLAT | {"name": "Bern", "n": 0, "zero": 1}],
        [{"a": "x", "b": 1, "c": 0.5}, {"a": "", "b": 0, "c": -1.5}, {"c": 2, "a": 3.5, "b": "y"}],
        [{"a": "x", "b": 1, "c": 0.5}, {"a": "xx", "b": 0, "c": -1.5}, {"x": "ü", "y": -(2**30) + 1, "z": 2.5}],
        [{"a": 1}, {"a": 2**30}, {"a": 0}],
        [{"a": 1}, {"a": -(2**30)}, {"a": 0}],
        [{"a": 1}, {"a": True}, {"a": 0}],
        [{"a": "x"}, {"a": None}, {"a": "🛫"}],
        [{"a": "x"}, {"a": ["x"]}],
        [{"a": ["x"]}, {"a": ["xx"]}],
        [{"a": 1}, {"a": 1, "b": 2}],
        [{"a": 1, "b": 2}, {"a": 1}],
        [{}, {}],
    ],
)
def test_many_are_encoded_as_each_alone(together: list[object]) -> None:
    """Records and sizes of documents that are encoded together are those that each has alone."""
    alone = [encode(document) for document in together]
    records, sizes = encode_many(together, 1 << 20)
    assert (records, sizes) == ([record for record, _ in alone], [size for _, size in alone])


class Text(str):
    """A subclass of str."""

    __slots__ = ()


@pytest.mark.parametrize(
    "odd", [{Text("name"): 1}, FLAT | {"name": Text("Bern")}, {Text(name): value for name, value in FLAT.items()}]
)
def test_one_of_many_with_values_of_subclasses(odd: object) -> None:
    """It is encoded as it is alone, wherever it stands, and so are the others."""
    for together in ([odd, FLAT], [FLAT, odd], [odd] * 3):
        alone = [encode(document) for document in together]
        assert encode_many(together, 1 << 20) == ([record for record, _ in alone], [size for _, size in alone])


@pytest.mark.parametrize(
    "bad",
    [
        *({1: 2}, {"a": {1}}, {"a": "\ud800"}, {"\ud800": 1}, {("a",): 1}, object()),
        *({Text("name"): {1}}, FLAT | {"name": [Text("\ud800")]}, {Text(name): {1} for name in FLAT}),
    ],
)
def test_one_of_many_that_cannot_be_stored(bad: object) -> None:
    """A document that can't be stored is refused with the same error as alone, wherever it stands."""
    with pytest.raises(InvalidDocument) as alone:
        encode(bad)
    for together in ([bad, FLAT], [FLAT, bad]):
        with pytest.raises(InvalidDocument) as refused:
            encode_many(together, 1 << 20)
        assert str(refused.value) == str(alone.value)


@pytest.mark.parametrize("document", [{"a": "x" * 40}, {"k" * 40: 1}, {"a": ["x" * 40]}])
@pytest.mark.parametrize("fit", [1, 2, 9])
def test_many_end_where_the_room_does(document: object, fit: int) -> None:
    """The document that fills the room is the last one; those after it are left over."""
    record, size = encode(document)
    together = [document] * 10
    for room in (fit * len(record), fit * len(record) - len(record) + 1):
        assert encode_many(together, room) == ([record] * fit, [size] * fit)


def test_one_of_many_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for each document, not for all together."""
    record, size = encode({"a": "x" * 90})
    at_most(monkeypatch, len(record))
    assert encode_many([{"a": "x" * 90}] * 5, 1 << 20) == ([record] * 5, [size] * 5)
    with pytest.raises(DocumentTooLarge):
        encode_many([{"a": "x" * 90}] * 5 + [{"a": "x" * 200}], 1 << 20)


def test_texts_that_take_more_than_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters such as é count one byte and take two: the limit is on what they take, for many as for one."""
    at_most(monkeypatch, 300)
    for encode_one in (lambda document: encode_many([document], 1 << 20), encode):
        with pytest.raises(DocumentTooLarge, match="the document has 406 bytes as stored"):
            encode_one({"a": "é" * 200})


@pytest.mark.parametrize("document", [{"n": 1, "text": "x" * 1_000_000}, {"x" * 1_000_000: 1}])
def test_many_that_have_no_room_together_are_not_put_together(document: dict[str, object]) -> None:
    """Large documents are looked at together only as far as there is room, so that many of them take little memory."""
    tracemalloc.start()
    try:
        records, _ = encode_many([dict(document) for _ in range(50)], 500_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(records) == 1
    assert peak < 10_000_000


# -- the quick ways agree with the plain ones ----------------------------------------------------------------------


def outcome(function: Callable[..., object], *arguments: object) -> object:
    """What a function gives, by its repr, since nan isn't equal to itself; or the error that it raises."""
    try:
        return repr(function(*arguments))
    except (InvalidDocument, UnreadableRecord) as error:
        return type(error), str(error)


@given(alike(), st.integers(1, 400) | st.just(1 << 20), st.integers(1, 300) | st.just(1 << 20))
def test_encoding_many_agrees_with_one_by_one(together: list[object], room: int, limit: int) -> None:
    """Records, sizes, the end of the room and the errors are those that the plain way gives."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        at_most(monkeypatch, limit)
        assert outcome(encode_many, together, room) == outcome(encode_many_plainly, together, room)


@given(st.lists(st.builds(lambda document: encode(document)[0], trees) | st.binary(), max_size=5), st.integers(0, 9))
def test_decoding_many_agrees_with_one_by_one(records: list[bytes], begin: int) -> None:
    """Documents and errors are those that the plain way gives, wherever in the bytes a record begins."""
    given = [b"x" * begin + record for record in records]
    assert outcome(decode_many, given, begin) == outcome(decode_many_plainly, given, begin)


small = st.sampled_from([0, 1, -7, 2**30, 0.5, "", "x", "ü", "🛫", None, True])


@given(st.lists(st.dictionaries(st.sampled_from("abc"), small)))
def test_sizes_by_columns_are_those_of_each(together: list[dict[str, object]]) -> None:
    """Sizes by columns are the sizes of each dict, or unknown."""
    sizes = sizes_by_columns(together, 1 << 20)
    assert sizes is None or sizes == [values_size(document) for document in together]


def test_what_columns_are_for() -> None:
    """Dicts with the same types of values are measured by columns, whatever their keys; other dicts aren't."""
    together: list[dict[str, object]] = [{"a": "x", "b": 1, "c": 0.5}, {"c": "ü", "d": 0, "e": 1.5}]
    assert sizes_by_columns(together, 3) == [50 + 28 + 24, 74 + 24 + 24]
    assert sizes_by_columns(together, 2) is None
    others: list[dict[str, object]] = [{"a": "x"}, {"a": "x", "b": 1.0, "c": 0.5}, {"a": "x", "b": 2**30, "c": 0.5}]
    for other in others:
        assert sizes_by_columns([*together, other], 100) is None
