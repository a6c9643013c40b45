"""Documents as text many at a time: what each function gives is what its plain twin gives one by one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from cli.any_documents import any_document, same, texts
from hypothesis import given
from hypothesis import strategies as st

from pyshard.cli import bulk_document_text
from pyshard.cli.bulk_document_text import as_json_many, as_text_many, parse_many
from pyshard.cli.document_text import TextError, as_json, as_text, decoder, may_be_json, parse
from pyshard.cli.line_formats import format_line, format_lines, parse_line, parse_lines_plainly

#: The mark that stands between documents, as whoever knew it could write it.
MARK = bulk_document_text._MARK

#: Texts of which some are JSON, some nearly, and some only together with their neighbors.
PIECES = [
    "1", "-0.5e+3", "1e999", "01", "1,2", "[1", "2]", "[1]]", "[1], [2]",
    "[1], [2], [3]", "[", "]", '"', '"a', 'b"', "{}", '{"a": 1}', '{"a": 1, "a": 2}',
    '{"$bytes": "AA=="}', '{"$bytes": 1}', "null", "nul", "true ", " false", "NaN", "-Infinity", "Infinite", "", " ",
    "two words", "2024-01-01", "²", "\u00a0", "null, 1", f'"{MARK}"', f'1, "{MARK}", 2', f'["{MARK}", 1]', "9" * 5000,
    "[" * 2000,
]  # fmt: skip

#: Documents that JSON can't carry as they are, and those that look like what stands for them.
SPECIAL: list[Any] = [
    b"\0\xff", {"$bytes": "AA=="}, {"$int": "0x1"}, {"a": b"x"}, [{"$$bytes": 1}], 10**5000, math.inf, -0.0, 1e16, 1e-7,
    "\x7f\u2028\x00", "a\nb", "null", "1.0", '"x"', "{", MARK, [1, MARK, 2], {MARK: MARK}, f'1, "{MARK}", 2', None, [],
]  # fmt: skip


def one_by_one(given: list[str]) -> list[Any] | None:
    """What `parse` gives for each text; None: it refuses one."""
    try:
        return [parse(text) for text in given]
    except TextError:
        return None


@given(st.lists(any_document | st.sampled_from(SPECIAL), max_size=8))
def test_writing_many_agrees_with_one_by_one(documents: list[Any]) -> None:
    """JSON and text of many documents are those of each."""
    assert as_json_many(documents) == list(map(as_json, documents))
    assert as_text_many(documents) == list(map(as_text, documents))


@given(st.lists(st.sampled_from(PIECES) | texts | any_document.map(as_text), max_size=8))
def test_reading_many_agrees_with_one_by_one(given: list[str]) -> None:
    """Texts that all stand for documents give those; else nothing is given, and never a neighbor's part."""
    found, expected = parse_many(given), one_by_one(given)
    if expected is None:
        assert found is None
    elif found is not None:
        assert len(found) == len(expected)
        assert all(map(same, found, expected))


def test_most_texts_are_read_together() -> None:
    """JSON and plain texts, mixed as they are in one file, need no second look."""
    given = ["1", "two", '{"a": [1, null]}', "2024-01-01", '"3"', "nil", "", "true"]
    assert parse_many(given) == [1, "two", {"a": [1, None]}, "2024-01-01", "3", "nil", "", True]


@pytest.mark.parametrize("given", [["[1], [2]"], ["[1", "[2]]"], ["[1], [2], [3]", "[4", "[5]]"], ['"a', '"b"']])
def test_texts_that_are_json_only_together(given: list[str]) -> None:
    """Texts of which each is wrong are never taken for right ones, however they come out together."""
    assert parse_many(given) is None


@given(st.sampled_from(PIECES) | texts)
def test_what_cannot_be_json(text: str) -> None:
    """A text that is sorted out by its look is one that the decoder refuses."""
    if not may_be_json(text):
        with pytest.raises(json.JSONDecodeError):
            decoder.decode(text)


@given(st.lists(st.tuples(texts, any_document | st.sampled_from(SPECIAL)), max_size=6), st.booleans())
def test_lines_written_together(pairs: list[tuple[str, Any]], jsonl: bool) -> None:
    """The lines of many documents are those of each, up to the first key that can't stand in one."""
    expected: list[str] = []
    for key, document in pairs:
        try:
            expected.append(format_line(key, document, jsonl))
        except TextError:
            break
    assert format_lines([key for key, _ in pairs], [document for _, document in pairs], jsonl) == expected


_OTHERS = [b"\r", b"\xff", b"a|", b"|", b"k\r|", b'{"key": 1, "doc": 2}']
_pieces = st.sampled_from([*(piece.encode() for piece in PIECES), *_OTHERS])
_lines = st.lists(
    st.builds(lambda *parts: b"".join(parts).replace(b"\n", b""), _pieces, _pieces)
    | st.builds(lambda key, document: format_line(key, document, True).encode(), texts, any_document),
    max_size=5,
)


@given(_lines, st.booleans())
def test_lines_read_together(lines: list[bytes], jsonl: bool) -> None:
    """Many lines give what each gives, or are looked at one by one, as when one of them is refused."""
    found = parse_lines_plainly(lines, jsonl)
    if found is not None:
        expected = [parse_line(line, jsonl) for line in lines]
        assert [key for key, _ in found] == [key for key, _ in expected]
        assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(found, expected, strict=True))
