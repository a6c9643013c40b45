"""The lines of `load` and `cat`: how a file is cut into lines, and how a line is read and written."""

from __future__ import annotations

import io

import pytest
from cli.any_documents import any_document, same, texts
from hypothesis import given
from hypothesis import strategies as st

from pyshard.cli.document_text import TextError
from pyshard.cli.line_formats import WINDOW, format_line, parse_line, windows
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import Key


class Pipe:
    """A file that gives these pieces, one at a time."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.asked = 0

    def read1(self, size: int, /) -> bytes:
        """The next piece."""
        self.asked += 1
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        ([b"a\nb\n"], [[b"a", b"b"]]),
        ([b"a\nb"], [[b"a"], [b"b"]]),
        ([b"a", b"b", b"c\nd", b"\n"], [[b"abc"], [b"d"]]),
        ([b"\n\n"], [[b"", b""]]),
        ([b"a\r\nb\x0bc\x85\n"], [[b"a\r", b"b\x0bc\x85"]]),
        ([b"1\n2\n3\n4\n5\n"], [[b"1", b"2"], [b"3", b"4"], [b"5"]]),
    ],
)
def test_windows(pieces: list[bytes], expected: list[list[bytes]]) -> None:
    """Lines are given as soon as they are complete, in windows; only line feeds end them."""
    assert list(windows(Pipe(*pieces), most=2)) == expected


@given(st.lists(st.binary(min_size=1)))
def test_windows_lose_nothing(pieces: list[bytes]) -> None:
    """However a file is cut into pieces, its lines are the same."""
    found = [line for window in windows(Pipe(*pieces)) for line in window]
    assert found == b"".join(pieces).split(b"\n")[: len(found)]
    assert b"\n".join(found) == b"".join(pieces).removesuffix(b"\n")


def test_windows_of_a_file() -> None:
    """Windows are full while the file has enough lines."""
    file = io.BufferedReader(io.BytesIO(b"x\n" * (2 * WINDOW + 1)))
    assert [len(window) for window in windows(file)] == [WINDOW, WINDOW, 1]


def test_a_line_is_not_waited_for() -> None:
    """A complete line is given before the file is asked for more."""
    pipe = Pipe(b"a\n", b"b\n")
    found = windows(pipe)
    assert next(found) == [b"a"]
    assert pipe.asked == 1


def test_a_line_is_bounded() -> None:
    """A line that doesn't end is refused before it fills the memory; the lines before it come."""
    endless = Pipe(b"a\n", *[b"x" * 40] * 1000)
    found = windows(endless, longest=100)
    assert next(found) == [b"a"]
    with pytest.raises(TextError, match="a line has more than 100 bytes"):
        next(found)
    assert endless.asked == 4


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1|test", ("1", "test")),
        ('2|{"test": "test"}', ("2", {"test": "test"})),
        ("3|42", ("3", 42)),
        ("4|", ("4", "")),
        ("|x", ("", "x")),
        ("a|b|c", ("a", "b|c")),
        (" a | b ", (" a ", " b ")),
        ("a|b\r", ("a", "b")),
        ("ключ|ё", ("ключ", "ё")),
    ],
)
def test_parse_line(line: str, expected: tuple[str, Document]) -> None:
    """The first | separates key and document."""
    assert parse_line(line.encode()) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"key": "a|b", "doc": null}', ("a|b", None)),
        ('{"doc": {"$bytes": "AA=="}, "key": 1}\r', (1, b"\0")),
        ('{"key": 1.5, "doc": []}', (1.5, [])),
    ],
)
def test_parse_jsonl(line: str, expected: tuple[Key, Document]) -> None:
    """An object with key and document, in any order."""
    assert parse_line(line.encode(), jsonl=True) == expected


@pytest.mark.parametrize(
    ("line", "jsonl", "column", "part"),
    [
        (b"test", False, 0, "found no |, expected key|document (or --jsonl)"),
        (b'key|{"a" 1}', False, 10, "expecting ':' delimiter"),
        (b'key|{"$int": 1}', False, 0, "must hold text"),
        (b"k\xff|1", False, 2, "found bytes that are not UTF-8 (invalid start byte)"),
        (b'{"key" 1}', True, 8, "expecting ':' delimiter"),
        (b"1|test", True, 0, 'expected {"key": …, "doc": …} and nothing else'),
        (b'{"key": "a"}', True, 0, "and nothing else"),
        (b'{"key": "a", "doc": 1, "more": 2}', True, 0, "and nothing else"),
        (b'{"key": true, "doc": 1}', True, 0, "key: expected a string or a number"),
        (b'{"key": {"$bytes": ""}, "doc": 1}', True, 0, "key: expected a string or a number"),
    ],
)
def test_refused_lines(line: bytes, jsonl: bool, column: int, part: str) -> None:
    """A line without key and document is an error, with the column in the whole line where it is known."""
    with pytest.raises(TextError) as refused:
        parse_line(line, jsonl)
    assert refused.value.column == column
    assert part in refused.value.reason


@pytest.mark.parametrize("key", ["a|b", "|", "a\nb"])
def test_keys_that_need_jsonl(key: str) -> None:
    """A key that the key|document format can't hold is refused, never changed."""
    with pytest.raises(TextError, match=r"can't be written as key\|document; use --jsonl"):
        format_line(key, 1)


@given(texts, any_document, st.booleans())
def test_what_is_written_is_read_back(key: str, document: Document, jsonl: bool) -> None:
    """A line reads back as the same key and an equal document, whatever they are."""
    if not jsonl and ("|" in key or "\n" in key):
        return
    line = format_line(key, document, jsonl).encode()
    assert b"\n" not in line
    read_key, read = parse_line(line, jsonl)
    assert read_key == key
    assert same(read, document)
