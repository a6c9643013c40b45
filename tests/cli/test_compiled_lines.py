"""Lines of text ⇄ records, compiled: the same text and the same records as the plain way gives, or nothing.

What JSON and MessagePack can hold and pyshard doesn't write itself is tried, too: other clients and other programs do.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import msgspec
import pytest
from cli.any_documents import any_document, same, texts
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pyshard.cli.cat_lines import record_lines, record_lines_plainly
from pyshard.cli.document_text import TextError, as_json, as_text
from pyshard.cli.line_formats import format_line, parse_line, parse_lines
from pyshard.client_core.bulk_input import EncodedDocument
from pyshard.compiled import line_leaves, parse_leaves
from pyshard.errors import PyshardError, Unavailable
from pyshard.model.document_encoding import FORMAT, HEAD, decode, encode_plainly
from pyshard.protocol.batch_answers import VERSION
from pyshard.settings import settings

#: Documents of documents are often larger than Hypothesis likes.
roomy = hypothesis_settings(suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])

built = pytest.mark.skipif(parse_leaves is None, reason="no compiled twins were built")

NESTING, ELEMENTS, BYTES = settings.MAX_NESTING, settings.MAX_ELEMENTS, settings.MAX_DOCUMENT_BYTES

#: Characters at the bounds of what is escaped, of UTF-8's lengths, and of planes.
EDGES = [
    chr(point) for bound in (0x20, 0x7F, 0xA0, 0x100, 0x800, 0x2028, 0x202A, 0x10000) for point in (bound - 1, bound)
]
edge_texts = st.lists(st.sampled_from([*EDGES, '"', "\\", "\x00", "\n", "\x0b", "$", "\ud7ff", "\ue000", "\U0010ffff"]))
long_texts = st.builds(
    lambda edge, before, behind: "x" * before + "".join(edge) + "y" * behind,
    edge_texts,
    st.integers(0, 40),
    st.integers(0, 300),
)
_BITS = (5, 7, 8, 15, 16, 30, 31, 32, 60, 63, 64)
_BOUND_INTS = [sign * 2**bits + more for bits in _BITS for sign in (1, -1) for more in (-1, 0, 1)]
bound_ints = st.sampled_from(_BOUND_INTS)
edge_floats = st.sampled_from([1e16, 1e15, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308, -0.0, 0.1, 1e22, 123456789.125])
wide = st.integers(0, 300).map(lambda count: {f"name{number}": number for number in range(count)})
long_lists = st.integers(0, 70_000).map(lambda count: [7] * count)
documents: st.SearchStrategy[Any] = st.recursive(
    any_document | long_texts | bound_ints | edge_floats,
    lambda inner: st.lists(inner, max_size=17) | st.dictionaries(texts | long_texts, inner, max_size=17),
    max_leaves=20,
)


def result_of(document: object) -> bytes:
    """What a shard answers for a key with a document."""
    return bytes(VERSION.size) + encode_plainly(document)[0]


def lines_one_by_one(keys: list[str], results: list[object], jsonl: bool) -> tuple[bytes, int]:
    """The lines of keys, each made by itself, up to the first that has none by itself."""
    lines = b""
    for place in range(len(keys)):
        line, end = record_lines_plainly(keys[place : place + 1], results[place : place + 1], 0, jsonl)
        if not end:
            return lines, place
        lines += line
    return lines, len(keys)


def lines_of(keys: list[str], results: list[object], place: int, jsonl: bool) -> tuple[bytes, int]:
    """What the compiled twin gives."""
    return line_leaves.record_lines(keys, results, place, VERSION.size, jsonl, ELEMENTS, NESTING)


@built
@roomy
@given(
    st.lists(st.tuples(texts, st.none() | (documents | wide | long_lists).map(result_of)), max_size=5), st.booleans()
)
def test_lines_of_records(pairs: list[tuple[str, object]], jsonl: bool) -> None:
    """The lines of any documents, up to one that is left to the plain twin, are byte for byte those that it makes."""
    keys, results = [key for key, _ in pairs], [result for _, result in pairs]
    text, end = lines_of(keys, results, 0, jsonl)
    while (more := lines_of(keys, results, end, jsonl))[1] > end:
        text, end = text + more[0], more[1]
    expected = lines_one_by_one(keys[:end], results[:end], jsonl)
    assert (text, end) == expected
    assert record_lines(keys, results, end, jsonl)[1] >= end


#: Documents at the bounds of what is written in one way or another.
BOUNDS: list[Any] = [
    *_BOUND_INTS, *EDGES, *[f"{edge}xxxxxxx" for edge in EDGES], {str(number): number for number in range(16)},
    *["x" * length for length in (31, 32, 255, 256, 65_535, 65_536)],
    *[[1] * length for length in (15, 16, 65_535, 65_536)],
]  # fmt: skip


@built
@pytest.mark.parametrize("jsonl", [False, True])
def test_lines_at_the_bounds(jsonl: bool) -> None:
    """Each bound of ints, characters and lengths is written, and read, as the plain twin does it."""
    for document in BOUNDS:
        results: list[object] = [result_of(document)]
        text, end = lines_of(["k"], results, 0, jsonl)
        assert (text, end) in ((b"", 0), record_lines_plainly(["k"], results, 0, jsonl))
        line = format_line("k", document, jsonl).encode()
        assert pairs_of([line], jsonl)[0] in (None, plainly(line, jsonl))


@built
@roomy
@given(documents | wide)
def test_most_documents_are_not_left(document: Any) -> None:
    """What is left are bytes, ints past 64 bits, dicts of many names, and what looks like a tag."""
    left = lines_of(["key"], [result_of(document)], 0, True)[1] == 0
    assert left is _is_rare(document)


def _is_rare(document: Any) -> bool:
    if isinstance(document, dict):
        tagged = len(document) == 1 and next(iter(document)).startswith("$")
        return tagged or len(document) > 128 or any(map(_is_rare, document.values()))
    if isinstance(document, list):
        return any(map(_is_rare, document))
    return isinstance(document, bytes) or (type(document) is int and not -(2**63) <= document < 2**64)


#: Bytes that are no UTF-8: parts of characters, surrogates, too long, past the last one.
NO_UTF8 = [
    b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xc2\x20", b"\xe0\x9f\xbf", b"\xe2\x82", b"\xed\xa0\x80",
    b"\xed\xbf\xbf", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff",
]  # fmt: skip

#: MessagePack that no client of ours writes: it may be read as a document, or not.
FOREIGN = [
    b"", b"\xc1", b"\xca\x3f\x80\x00\x00", b"\xca\x7f\xc0\x00\x00", b"\xca\xff\x80\x00\x00", b"\xcc\x01",
    b"\xd3" + bytes(8), b"\xd0\x7f", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd9\x01a", b"\xda\x00\x01a",
    b"\xdb\x00\x00\x00\x01a", b"\xdb\xff\xff\xff\xffa", b"\xdc\x00\x01\x01", b"\xdd\x00\x00\x00\x01\x01",
    b"\xdf\x00\x00\x00\x01\xa1a\x01", b"\xdd\xff\xff\xff\xff\x01", b"\x82\xa1a\x01\xa1a\x02", b"\x82\xa1a\x01\xa1b",
    b"\x81\x01\x02", b"\x81\xc4\x01a\x02", b"\x01\x02", b"\xa1\xff", b"\xa2\xc0\x80", b"\xa3\xed\xa0\x80",
    b"\xa4\xf4\x90\x80\x80", b"\xa1\xc2", b"\xa3\xe0\x9f\xbf", b"\xa4\xf0\x8f\xbf\xbf", b"\xa3\xef\xbf\xbf",
    b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x01\x01\x05", b"\x91" * 101 + b"\xc0", b"\x91" * 100 + b"\xc0",
    b"\xcb\x7f\xf0" + bytes(6), b"\x81\xa1$\x01", b"\x82\xa1$\x01\xa1b\x02", b"\xa1\x80",
]  # fmt: skip


@built
@pytest.mark.parametrize("body", FOREIGN)
def test_lines_of_foreign_records(body: bytes) -> None:
    """What is written in another way is read as the plain twin reads it, or left to it."""
    _check_body(body, False, FORMAT)
    _check_body(body, True, FORMAT)


@built
@roomy
@given(st.binary(max_size=12), st.booleans(), st.sampled_from([FORMAT, 0, 2]))
def test_lines_of_damaged_records(body: bytes, jsonl: bool, format_byte: int) -> None:
    """So is what is damaged."""
    _check_body(body, jsonl, format_byte)


def _check_body(body: bytes, jsonl: bool, format_byte: int) -> None:
    result = bytes(VERSION.size) + bytes([format_byte]) + HEAD.pack(FORMAT, 9)[1:] + body
    for cut in range(len(result) + 1):
        text, end = lines_of(["key"], [result[:cut]], 0, jsonl)
        if end:
            assert (text, 1) == record_lines_plainly(["key"], [result[:cut]], 0, jsonl)
        else:
            assert text == b""


@built
def test_what_has_no_line() -> None:
    """A missing key has no line; an error, a key with a bar, and a document that has to be counted end them."""
    one = result_of(1)
    assert lines_of(["a", "b", "c"], [one, None, one], 0, False) == (b"a|1\nc|1\n", 3)
    assert lines_of(["a", "b", "c"], [one, Unavailable("gone"), one], 0, False) == (b"a|1\n", 1)
    assert lines_of(["a", "b|", "c"], [one, one, one], 0, False) == (b"a|1\n", 1)
    assert lines_of(["a", "b|", "c"], [one, one, one], 2, False) == (b"c|1\n", 3)
    assert line_leaves.record_lines(["a"], [result_of([1, 2])], 0, VERSION.size, False, 2, NESTING) == (b"", 0)
    assert line_leaves.record_lines(["a"], [result_of([[1]])], 0, VERSION.size, False, ELEMENTS, 1) == (b"", 0)


# ---------------------------------------------------------------------- lines → records


def pairs_of(lines: list[bytes], jsonl: bool, most: int = ELEMENTS, nesting: int = NESTING) -> list[Any]:
    """What the compiled twin gives for lines."""
    return parse_leaves.pairs_of_lines(lines, jsonl, EncodedDocument, most, nesting)


def plainly(line: bytes, jsonl: bool) -> tuple[object, EncodedDocument] | None:
    """What the plain twin makes of a line; None: it refuses it, or its document can't be stored."""
    try:
        key, document = parse_line(line, jsonl)
        return key, EncodedDocument(*encode_plainly(document))
    except (TextError, PyshardError):
        return None


#: Texts that are JSON, or nearly.
TEXTS = [
    "", " ", "null", "nul", "nullx", " true ", "false\t", "NaN", "Infinity", "-Infinity", "-Infinite", "Infinite",
    "nan", "0", "-0", "00", "01", "-", "-1", "+1", "1.", "1.5", ".5", "1e5", "1E+5", "1e-5", "1e", "1e999", "-1e999",
    "0.0", "-0.0", "1 2", "1,2", "2024-01-01", "127.0.0.1", "9" * 19, "9" * 20, "9" * 400, "18446744073709551615",
    "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "0.1", "1e22",
    "123456789012345678901234567890.5", "1e-400", "²", "٣", '"a"', '"a', '"a"b', '""', '"\\"', '"\\""', '"\\x"',
    '"\\u00e9"', '"\\u00E9\\u0000"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '"\\ud83d\\u0041"', '"\\u12"',
    '"\\u12G4"', '"\\/\\b\\f\\n\\r\\t\\\\"', '"\x7f"', '"\x01"', '"é€😀"', '"\t"', "[]", "[ ]", "[1,]", "[,1]",
    "[1 2]", "[1", "]", "{}", "{ }", '{"a":1}', '{"a" : 1 , "b":[1,{"c":null}]}', '{"a"}', '{"a":}', '{"a":1,}',
    '{a:1}', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"$bytes":"AA=="}', '{"$bytes":"AA==","b":1}',
    '{"$int":"0x1f"}', '{"\\u0024int":"0x1f"}', '{"$$a":1}', '{"$a":1}', "[" * 100 + "]" * 100, "[" * 101 + "]" * 101,
    "[true, false, null]", "[NaN]", "[truefalse]", "word|bar", "a\rb", "\u00a0", "\ufeff1", "\u2028", "text\r",
]  # fmt: skip
any_text = st.sampled_from(TEXTS) | texts.map(lambda text: text.replace("\n", "")) | documents.map(as_text) | (
    st.tuples(documents.map(as_json), st.sampled_from(["", " ", "\t", ",", "1", "]"])).map("".join)
)  # fmt: skip
frames = st.sampled_from([
    '{"key": %s, "doc": %s}', '{"key":%s,"doc":%s}', ' { "key" : %s , "doc" : %s } ', '{"key": %s, "doc": %s',
    '{"key": %s, "doc": %s, "doc": 1}', '{"key": %s, "document": %s}', '{"doc": %s, "key": %s}',
    '{"key": %s, "doc": %s}}', '[{"key": %s, "doc": %s}]',
])  # fmt: skip


@built
@roomy
@given(texts.map(lambda key: key.replace("\n", "")), any_text, st.sampled_from(["", "\r", "\r\r"]))
@example("a\rb", "1", "")
def test_a_line(key: str, text: str, end: str) -> None:
    """A line of key|document gives the record that the plain twin gives, or is left to it."""
    line = f"{key}|{text}{end}".encode()
    [found] = pairs_of([line], False)
    assert found in (None, plainly(line, False))


@built
@pytest.mark.parametrize("jsonl", [False, True])
def test_lines_nearly_json(jsonl: bool) -> None:
    """Each text that is JSON or nearly gives what the plain twin gives, or is left to it, as a part of others, too."""
    for text in TEXTS:
        for one in (text, f"[{text}]", f'{{"a": {text}, "b": 1}}', f'"{text}"'):
            line = (f'{{"key": "k", "doc": {one}}}' if jsonl else f"k|{one}").encode()
            assert pairs_of([line], jsonl)[0] in (None, plainly(line, jsonl))


@built
@roomy
@given(frames, st.sampled_from(['"k"', '"a\\u00e9"', "1", "null", '"', '"\\ud800"']), any_text)
def test_a_line_of_jsonl(frame: str, key: str, text: str) -> None:
    """So does a line of JSONL, whatever its form."""
    line = (frame % (key, text)).replace("\n", "").encode()
    [found] = pairs_of([line], True)
    assert found in (None, plainly(line, True))


@built
@roomy
@given(st.binary(max_size=12), st.binary(max_size=12), st.booleans())
def test_a_line_of_other_bytes(key: bytes, text: bytes, jsonl: bool) -> None:
    """Bytes that aren't UTF-8 are left to the plain twin, which says where."""
    for line in (key + b"|" + text, key + b'|"' + text + b'"', b'{"key": "%b", "doc": "%b"}' % (key, text)):
        line = line.replace(b"\n", b"")
        [found] = pairs_of([line], jsonl)
        assert found in (None, plainly(line, jsonl))


@built
@pytest.mark.parametrize("text", NO_UTF8)
def test_what_is_not_utf8(text: bytes) -> None:
    """Nothing that is no UTF-8 is taken for it, in a key, a str or a name."""
    for line in (text + b"|1", b"k|x" + text, b'k|["xxxxxxx' + text + b'"]', b'k|{"' + text + b'": 1}'):
        assert pairs_of([line], False) == [None]
    assert pairs_of([b'{"key": "' + text + b'", "doc": 1}'], True) == [None]
    result = bytes(VERSION.size) + HEAD.pack(FORMAT, 9) + bytes([0xA0 + len(text)]) + text
    assert lines_of(["k"], [result], 0, True) == lines_of(["k"], [result], 0, False) == (b"", 0)


@built
@roomy
@given(documents | wide | long_lists, st.booleans())
def test_most_lines_are_not_left(document: Any, jsonl: bool) -> None:
    """What `cat` writes is read without the plain twin, but for what is rare."""
    line = format_line("key", document, jsonl).encode()
    [found] = pairs_of([line], jsonl)
    assert found == (None if found is None else ("key", EncodedDocument(*encode_plainly(document))))
    assert found is not None or _is_left(document, jsonl)


def _is_left(document: Any, jsonl: bool) -> bool:
    """Whether a document is rare when it is read: nan, inf and ints from 2**63 on are, and a str in quotes may be."""
    text = as_json(document)
    rare = any(sign in text for sign in ("NaN", "Infinity", "$", "\\u0000"))
    return rare or any(int(digits) >= 1 << 63 for digits in re.findall(r"\d{19,4000}", text)) or _is_rare(document)


@built
def test_limits_of_lines() -> None:
    """Nothing past a limit is taken."""
    line = b"k|[[1, 2]]"
    size = len(msgspec.msgpack.encode([[1, 2]]))
    assert pairs_of([line], False, size, 2) == [plainly(line, False)]
    assert pairs_of([line], False, size - 1, 2) == [None]
    assert pairs_of([line], False, size, 1) == [None]


@roomy
@given(st.lists(st.tuples(texts, documents), max_size=2), st.booleans())
def test_lines_are_read_as_they_are_written(pairs: list[tuple[str, Any]], jsonl: bool) -> None:
    """`load` stores the documents that `cat` wrote, compiled or not."""
    pairs = [(key, document) for key, document in pairs if not set(key) & {"|", "\n", "\r"}]
    lines = [format_line(key, document, jsonl).encode() for key, document in pairs]
    found = parse_lines(lines, jsonl) or []
    read = [decode(one.record) if isinstance(one, EncodedDocument) else one for _, one in found]
    assert [key for key, _ in found] == [key for key, _ in pairs]
    assert all(same(one, document) for one, (_, document) in zip(read, pairs, strict=True))


@built
def test_floats_of_all_kinds() -> None:
    """Floats by their bits come out as Python writes them, and back."""
    for number in range(20_000):
        (value,) = struct.unpack("<d", struct.pack("<Q", number * 922337203685477 * 0x9E3779B1 % 2**64))
        text, end = lines_of(["k"], [result_of(value)], 0, False)
        assert (text, end) == (f"k|{as_json(value)}\n".encode(), 1)
        if value - value == 0:
            assert pairs_of([text[:-1]], False) == [("k", EncodedDocument(*encode_plainly(value)))]


@built
@pytest.mark.parametrize("count", [1, 2, 60, 128])
def test_many_names(count: int) -> None:
    """A dict of many names is taken, unless two of them are the same."""
    names = [f"name {number}" for number in range(count)]

    def line(names: list[str]) -> bytes:
        return b"key|{%s}" % ", ".join(f'"{name}": 1' for name in names).encode()

    for others, taken in ((names, True), ([*names[:-1], names[0]], count == 1)):
        [pair] = parse_leaves.pairs_of_lines(
            [line(others)], False, EncodedDocument, settings.MAX_DOCUMENT_BYTES, settings.MAX_NESTING
        )
        assert (pair is not None) is taken
