"""The line formats that `pyshard load` reads and `pyshard cat` writes. Pure, but for reading the file.

Rules:

- a line is one document with its key;
- ``key|document``: the first ``|`` separates, so a key with a ``|`` can't be written; the document is text
  as `pyshard.cli.document_text` reads it;
- JSONL: ``{"key": …, "doc": …}``, for any key;
- a line ends with a line feed, or with a carriage return and a line feed. A byte order mark before the first line isn't
  part of it;
- where `pyshard.compiled` is in use, lines become records there, and those that are rare are read as everywhere else;
- only one window of lines is held, whatever the file's length; a slow pipe's lines don't wait for more.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeGuard, cast

from pyshard.cli.bulk_document_text import as_json_many, as_text_many, parse_many
from pyshard.cli.document_text import TextError, as_json, as_text, parse
from pyshard.client_core.bulk_input import EncodedDocument
from pyshard.compiled import IN_USE, parse_leaves
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import Key
from pyshard.settings import settings

#: Lines of one window: what `load` and `cat` have in flight together.
WINDOW = 10_000

_READ = 1024 * 1024  # bytes of one read
_TOGETHER = 8 * 1024 * 1024  # bytes of lines that are parsed together

#: Bytes of one line: a document of the largest size, in which every byte is escaped, and its key.
LONGEST_LINE = 8 * settings.MAX_DOCUMENT_BYTES

#: Elements of a line of JSONL that aren't its document's: two names, the key, and the document itself.
_WRAPPED = 4

#: The types of a key in JSONL.
_KEYS = (str, int, float)


class LineSource(Protocol):
    """A binary file that returns what it has, without waiting for more."""

    def read1(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


def windows(source: LineSource, most: int = WINDOW, longest: int = LONGEST_LINE) -> Iterator[list[bytes]]:
    """The lines of a file, without their ends, one window at a time.

    A window ends where the file has no more for the moment.

    :param most: lines of one window, at the most.
    :param longest: bytes of a line, at the most.
    :raises TextError: a line is longer.
    """
    partial: list[bytes] = []
    size = 0
    data = _without_mark(source)
    while data or (data := source.read1(_READ)):
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*partial, lines[0]])
            partial, size = [], 0
            for start in range(0, len(lines), most):
                yield lines[start : start + most]
        partial.append(rest)
        size += len(rest)
        data = b""
        if size > longest:
            raise TextError(f"a line has more than {longest:,} bytes")
    if size:
        yield [b"".join(partial)]


def _without_mark(source: LineSource) -> bytes:
    """The first bytes of a file, without a byte order mark; none if there are none yet."""
    data = b""
    while len(data) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(data):
        more = source.read1(_READ)
        if not more:
            return data
        data += more
    return data.removeprefix(codecs.BOM_UTF8)


def text_of(content: bytes) -> str:
    """The text of bytes.

    :raises TextError: they aren't UTF-8; the error has the column.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise TextError("found UTF-16, expected UTF-8: save or convert the file as that") from None
        raise TextError(f"found bytes that are not UTF-8 ({error.reason})", 1, error.start + 1) from None


def parse_line(line: bytes, jsonl: bool = False) -> tuple[Key, Document]:
    """The key and the document of a line.

    :param jsonl: whether the line is JSONL, else ``key|document``.
    :raises TextError: the line has another form; the error has the column where it is known.
    """
    text = text_of(line.removesuffix(b"\r"))
    if jsonl:
        return _key_and_doc(text)
    key, separator, document = text.partition("|")
    if not separator:
        raise TextError("found no |, expected key|document (or --jsonl)")
    if "\r" in document:
        raise TextError(
            "found a carriage return within the line, expected lines that end with a line feed, or with both",
            1,
            text.index("\r", len(key)) + 1,
        )
    try:
        return key, parse(document)
    except TextError as error:
        raise TextError(error.reason, error.line, error.column and error.column + len(key) + 1) from None


def parse_lines(lines: list[bytes], jsonl: bool = False) -> list[tuple[Key, Document | EncodedDocument]] | None:
    """The key and the document of each line; a document may be encoded already.

    :return: None where some line may have to be refused: one by one it turns out which.
    """
    if not IN_USE:
        return cast("list[tuple[Key, Document | EncodedDocument]] | None", parse_lines_plainly(lines, jsonl))
    most = min(settings.MAX_DOCUMENT_BYTES, settings.MAX_ELEMENTS)
    found = parse_leaves.pairs_of_lines(lines, jsonl, EncodedDocument, most, settings.MAX_NESTING)
    pairs = cast("list[tuple[Key, Document | EncodedDocument]]", found)
    left = [place for place, pair in enumerate(found) if pair is None]
    if left:
        parsed = parse_lines_plainly([lines[place] for place in left], jsonl)
        if parsed is None:
            return None
        for place, pair in zip(left, parsed, strict=True):
            pairs[place] = pair
    return pairs


def parse_lines_plainly(lines: Sequence[bytes], jsonl: bool = False) -> list[tuple[Key, Document]] | None:
    """What `parse_line` gives for each line, in one call of the JSON module over all of them.

    :return: None where some line may have to be refused: one by one it turns out which.
    """
    if not lines or sum(map(len, lines)) > _TOGETHER:
        return None
    try:
        text = b"\n".join(lines).decode("utf-8")
    except UnicodeDecodeError:
        return None
    texts = text.split("\n")
    if "\r" in text:
        texts = [line.removesuffix("\r") for line in texts]
    if jsonl:
        found = parse_many(texts)
        pairs = [(cast("Key", one["key"]), one["doc"]) for one in found or () if _is_key_and_doc(one)]
        return pairs if len(pairs) == len(lines) else None
    parts = [line.partition("|") for line in texts]
    keys, separators, documents = zip(*parts, strict=True)
    if not all(separators) or ("\r" in text and any("\r" in document for document in documents)):
        return None
    parsed = parse_many(documents)
    return None if parsed is None else list(zip(keys, parsed, strict=True))


def format_lines(keys: Sequence[str], documents: Sequence[Document], jsonl: bool = False) -> list[str]:
    """What `format_line` gives for each key and its document, up to the first one that it refuses."""
    if jsonl:
        pairs = zip(as_json_many(keys), as_json_many(documents), strict=True)
        return [f'{{"key": {key}, "doc": {document}}}' for key, document in pairs]
    count = next((place for place, key in enumerate(keys) if "|" in key or "\n" in key), len(keys))
    texts = as_text_many(documents[:count])
    return [f"{key}|{text}" for key, text in zip(keys, texts, strict=False)]


def format_line(key: str, document: Document, jsonl: bool = False) -> str:
    """The line of a key and its document, without its end.

    :param jsonl: whether to write JSONL, else ``key|document``.
    :raises TextError: the key can't stand in a ``key|document`` line.
    """
    if jsonl:
        return f'{{"key": {as_json(key)}, "doc": {as_json(document)}}}'
    if "|" in key or "\n" in key:
        raise TextError(f"key {as_json(key)} can't be written as key|document; use --jsonl")
    return f"{key}|{as_text(document)}"


def _is_key_and_doc(found: Document) -> TypeGuard[dict[str, Document]]:
    """Whether a document is that of a JSONL line, which `_key_and_doc` takes."""
    return isinstance(found, dict) and found.keys() == {"key", "doc"} and type(found["key"]) in _KEYS


def _key_and_doc(text: str) -> tuple[Key, Document]:
    """The key and the document of a JSONL line."""
    found = parse(text, _WRAPPED)
    if not isinstance(found, dict) or found.keys() != {"key", "doc"}:
        raise TextError('expected {"key": …, "doc": …} and nothing else')
    key = found["key"]
    if type(key) not in _KEYS:
        raise TextError("key: expected a string or a number")
    return cast("Key", key), found["doc"]
