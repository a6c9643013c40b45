"""Documents that are encoded together: each as it is alone."""

from __future__ import annotations

import tracemalloc

import pytest

from pyshard.errors import DocumentTooLarge, InvalidDocument
from pyshard.model import documents
from pyshard.model.documents import encode
from pyshard.settings import Settings

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
    records, sizes = documents.encode_many(together, 1 << 20)
    assert (records, sizes) == ([record for record, _ in alone], [size for _, size in alone])


class Text(str):
    """A str that is another type."""


@pytest.mark.parametrize(
    "bad",
    [
        *({1: 2}, {"a": {1}}, {"a": "\ud800"}, {"\ud800": 1}, {("a",): 1}, object()),
        *({Text("name"): 1}, FLAT | {"name": Text("Bern")}, {Text(name): value for name, value in FLAT.items()}),
    ],
)
def test_one_of_many_that_cannot_be_stored(bad: object) -> None:
    """It is refused as it is alone, wherever it stands."""
    with pytest.raises(InvalidDocument) as alone:
        encode(bad)
    for together in ([bad, FLAT], [FLAT, bad]):
        with pytest.raises(InvalidDocument) as refused:
            documents.encode_many(together, 1 << 20)
        assert str(refused.value) == str(alone.value)


@pytest.mark.parametrize("document", [{"a": "x" * 40}, {"k" * 40: 1}, {"a": ["x" * 40]}])
@pytest.mark.parametrize("fit", [1, 2, 9])
def test_many_end_where_the_room_does(document: object, fit: int) -> None:
    """The document that fills the room is the last one; those behind it are left over."""
    record, size = encode(document)
    together = [document] * 10
    for room in (fit * len(record), fit * len(record) - len(record) + 1):
        assert documents.encode_many(together, room) == ([record] * fit, [size] * fit)


def test_one_of_many_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for each document, not for all together."""
    record, size = encode({"a": "x" * 90})
    monkeypatch.setattr(documents, "settings", Settings(MAX_DOCUMENT_BYTES=len(record)))
    assert documents.encode_many([{"a": "x" * 90}] * 5, 1 << 20) == ([record] * 5, [size] * 5)
    with pytest.raises(DocumentTooLarge):
        documents.encode_many([{"a": "x" * 90}] * 5 + [{"a": "x" * 200}], 1 << 20)


@pytest.mark.parametrize("document", [{"n": 1, "text": "x" * 1_000_000}, {"x" * 1_000_000: 1}])
def test_many_that_have_no_room_together_are_not_put_together(document: dict[str, object]) -> None:
    """What is looked at of large documents at once is no more than the room: they may be many, and huge."""
    tracemalloc.start()
    try:
        records, _ = documents.encode_many([dict(document) for _ in range(50)], 500_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(records) == 1
    assert peak < 10_000_000
