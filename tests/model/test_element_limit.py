"""How many elements a document has: counted before it is decoded, and bounded where it is written and where it is
read."""

from __future__ import annotations

import tracemalloc

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.document_samples import trees
from work import growth

from pyshard.errors import ConfigError, InvalidDocument, UnreadableRecord
from pyshard.model import bulk_document_encoding, document_encoding, element_limit
from pyshard.model.bulk_document_encoding import decode_many, encode_many
from pyshard.model.document_encoding import HEAD, Document, decode, encode
from pyshard.model.element_limit import VARIABLE, elements_fault, elements_in, most_elements
from pyshard.settings import settings

MOST = 1000


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let documents have at most so many elements."""
    for module in (element_limit, document_encoding, bulk_document_encoding):
        monkeypatch.setattr(module, "settings", attrs.evolve(settings, MAX_ELEMENTS=MOST))


def counted(document: object) -> int:
    """How many elements a document has, by a walk."""
    if isinstance(document, dict):
        return 2 * len(document) + sum(map(counted, document.values()))
    return len(document) + sum(map(counted, document)) if isinstance(document, list) else 0


def body_of(document: object) -> bytes:
    """A document's MessagePack."""
    return encode(document)[0][HEAD.size :]


def array(length: int) -> bytes:
    """The head of a MessagePack array."""
    return b"\xdd" + length.to_bytes(4, "big")


@given(trees)
def test_any_document(document: Document) -> None:
    """Items of lists, and keys and values of dicts count, at every depth."""
    assert elements_in(body_of(document), 1 << 40) == counted(document)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_any_length(length: int) -> None:
    """Whatever the form of a length: of texts, bytes, ints, lists and dicts."""
    values = ["x" * length, b"x" * length, 1 << 8 * length, [1.5] * length, {str(one): [] for one in range(length)}]
    for value in values:
        assert elements_in(body_of([value, [], -1, value, {"a": 3}]), 1 << 40) == 7 + 2 * counted(value)


@pytest.mark.parametrize("kind", [b"\xca" + bytes(4), *(bytes([0xD4 + two]) + bytes(1 + 2**two) for two in range(5))])
def test_what_others_write(kind: bytes) -> None:
    """Also what no record of pyshard's has: short floats, and extensions of fixed lengths."""
    assert elements_in(array(3) + kind + b"\x91\x05" + kind, 1 << 40) == 4


@given(trees, st.integers(0, 20))
def test_it_ends_early(document: Document, most: int) -> None:
    """Past the most that is asked for it counts no further."""
    found = elements_in(body_of(document), most)
    assert min(found, most + 1) == min(counted(document), most + 1)


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    """Bytes that are no MessagePack give some number, and end."""
    assert elements_in(data, 1000) >= 0


@pytest.mark.usefixtures("few")
def test_most_elements_of_a_document() -> None:
    """A document may have a thousand elements, and not one more, be it written or read; the message says what to do."""
    largest: list[object] = [[]] * (MOST - 4) + [{"a": 1}, 7]
    record, _ = encode(largest)
    assert decode(record) == largest
    assert decode_many([record, record]) == [largest, largest]
    message = (
        "the document has more than 1,000 elements in its lists and dicts, the most that one may have; the "
        "environment variable PYSHARD_MAX_ELEMENTS=NUMBER allows more, and each takes up to 120 bytes of memory"
    )
    for refused in ([*largest, 7], [*largest[:-1], {"a": [1]}], dict.fromkeys(map(str, range(MOST // 2 + 1)))):
        with pytest.raises(InvalidDocument) as error:
            encode(refused)
        assert str(error.value) == message
        with pytest.raises(InvalidDocument):
            encode_many([refused], 1 << 30)
    too_many = record[: HEAD.size] + array(MOST + 1) + b"\xc0" * (MOST + 1)
    for records in ([too_many], [record, too_many]):
        with pytest.raises(UnreadableRecord) as unreadable:
            decode_many(records)
        assert str(unreadable.value) == message


@pytest.mark.parametrize("element", [b"\x80", b"\x90", b"\x91\xc0", b"\x81\xa0\x80", b"\xa2ab", b"\xcd\x01\x00"])
def test_a_hostile_document(element: bytes) -> None:
    """A document of 16 MiB of small elements takes no memory to be refused; decoded, it took 1.25 GiB."""
    length = (settings.MAX_DOCUMENT_BYTES - 5) // len(element)
    record = HEAD.pack(1, 0) + array(length) + element * length
    with pytest.raises(UnreadableRecord):
        decode(record)  # what is made once in a process isn't the document's
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableRecord, match="more than 1,000,000 elements"):
            decode(record)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("few")
def test_more_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment allows more, while the program runs."""
    larger = [None] * (MOST + 1)
    monkeypatch.setenv(VARIABLE, str(MOST + 1))
    record, _ = encode(larger)
    assert decode(record) == larger
    with pytest.raises(InvalidDocument, match="more than 1,001 elements"):
        encode([*larger, None])
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UnreadableRecord, match="more than 1,000 elements"):
        decode(record)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("text", "expected"),
    [("", MOST), ("5", MOST), (str(MOST), MOST), (f" {MOST + 1}\n", MOST + 1), ("9" * 18, 10**18 - 1)],
)
def test_what_the_environment_may_say(text: str, expected: int) -> None:
    """A number above the default."""
    assert most_elements({VARIABLE: text}) == expected


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("text", ["many", "-1", "1e7", "1.5", "\u0661", "9" * 19, "\x1b[31m"])
def test_what_it_may_not_say(text: str) -> None:
    """Anything else is an error in one line, when it would matter."""
    with pytest.raises(ConfigError, match=f"^environment variable {VARIABLE}: found '.*', expected a whole number$"):
        elements_fault(bytes(MOST + 1), {VARIABLE: text})
    assert elements_fault(bytes(MOST), {VARIABLE: text}) is None


@pytest.mark.usefixtures("few")
def test_small_documents_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with no more bytes than it may have elements costs nothing."""
    monkeypatch.setattr("pyshard.model.document_encoding.elements_fault", None)
    record, _ = encode([None] * (MOST - 3))
    assert len(record) == HEAD.size + MOST
    assert decode_many([record]) == [[None] * (MOST - 3)]
    with pytest.raises(TypeError):
        encode([None] * (MOST - 2))


def test_the_work() -> None:
    """Each element costs the same."""
    assert growth(lambda length: lambda: elements_in(body_of([{"a": "x" * 40}] * length), 1 << 40), 100) < 4.8
