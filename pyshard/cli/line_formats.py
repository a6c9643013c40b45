"""Lines ⇄ keys and documents: what `pyshard load` reads and `pyshard cat` writes. Pure, but for the reading.

Two formats, one document a line. ``key|document``: the first ``|`` separates, so no key with one can be written;
the document is text as `pyshard.cli.document_text` has it. JSONL: ``{"key": …, "doc": …}``, for any key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pyshard.cli.document_text import TextError, as_json, as_text, parse
from pyshard.model.documents import Document
from pyshard.model.keyspace import Key
from pyshard.settings import settings

#: Lines of one window.
WINDOW = 1000

_CHUNK = 256 * 1024

#: Bytes of one line: a document of the largest size, in which every byte is escaped, and its key.
LONGEST_LINE = 8 * settings.MAX_DOCUMENT_BYTES


class Source(Protocol):
    """A binary file that gives what it has, without waiting for more."""

    def read1(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


def windows(source: Source, most: int = WINDOW, longest: int = LONGEST_LINE) -> Iterator[list[bytes]]:
    """The lines of a file, without their ends, some at a time: never more of the file than is needed is held.

    A window ends where the file has no more for the moment, so that a slow pipe's lines don't wait for others.

    :param most: lines of one window.
    :param longest: bytes of a line.
    :raises TextError: a line is longer.
    """
    begun: list[bytes] = []
    size = 0
    while chunk := source.read1(_CHUNK):
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*begun, lines[0]])
            begun, size = [], 0
            for start in range(0, len(lines), most):
                yield lines[start : start + most]
        begun.append(rest)
        size += len(rest)
        if size > longest:
            raise TextError(f"a line has more than {longest:,} bytes")
    if size:
        yield [b"".join(begun)]


def parse_line(line: bytes, jsonl: bool = False) -> tuple[Key, Document]:
    """The key and the document of a line.

    :raises TextError: it is no such line; the error has the column where that is known.
    """
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"found bytes that are not UTF-8 ({error.reason})", 1, error.start + 1) from None
    if jsonl:
        return _key_and_doc(text)
    key, separator, document = text.partition("|")
    if not separator:
        raise TextError("found no |, expected key|document (or --jsonl)")
    try:
        return key, parse(document)
    except TextError as error:
        raise TextError(error.reason, error.line, error.column and error.column + len(key) + 1) from None


def format_line(key: str, document: Document, jsonl: bool = False) -> str:
    """The line of a key and its document, without its end.

    :raises TextError: the key can't stand in a ``key|document`` line.
    """
    if jsonl:
        return f'{{"key": {as_json(key)}, "doc": {as_json(document)}}}'
    if "|" in key or "\n" in key:
        raise TextError(f"key {as_json(key)} can't be written as key|document; use --jsonl")
    return f"{key}|{as_text(document)}"


def _key_and_doc(text: str) -> tuple[Key, Document]:
    found = parse(text)
    if not isinstance(found, dict) or found.keys() != {"key", "doc"}:
        raise TextError('expected {"key": …, "doc": …} and nothing else')
    key = found["key"]
    if isinstance(key, bool) or not isinstance(key, (str, int, float)):
        raise TextError("key: expected a string or a number")
    return key, found["doc"]
