"""The shapes of documents: what people store, from an int to a page with its headers. Pure.

Rules:

- a document is made from its number and its version, the same for both sides;
- the version is the number of the round that wrote the document, so the check after a round notices a value that an
  earlier round wrote;
- every shape has keys of its own, of about the same length: no shape's documents replace another one's;
- `MIX` has as many documents of each shape as of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeAlias

import attrs

from pyshard import Document

Pair: TypeAlias = tuple[str, Document]

#: Links of a page.
_LINKS = 20

#: Characters of a page's text: with all the rest a page takes about 4 KiB.
_PAGE_TEXT = 3000

#: Characters of a text in many scripts.
_SCRIPTS_TEXT = 200

_RANDOM = Random(2)
_TEXT = "".join(_RANDOM.choices("abcdefghijklmnopqrstuvwxyz    ", k=20_000))
_SCRIPTS = "".join(
    _RANDOM.choices("aeiou äöüßéżł абвгдежзик αβγδεζηθ 漢字仮名交じり文 한국어 עברית العربية 😀🎉 ", k=20_000)
)


@attrs.frozen
class Shape:
    """Documents that are alike.

    :param name: in names of comparisons and in tables.
    :param make: makes a document of its number and version.
    """

    name: str
    make: Callable[[int, int], Document]

    def key(self, number: int) -> str:
        """The key of a document."""
        return f"https://example.com/{self.name}/{number:07d}"

    def pair(self, number: int, version: int) -> Pair:
        """Key and document."""
        return self.key(number), self.make(number, version)

    def parts(self, documents: int, version: int, call: int) -> Iterator[list[Pair]]:
        """All documents with numbers below `documents`, in parts of `call` documents."""
        for begin in range(0, documents, call):
            yield [self.pair(number, version) for number in range(begin, min(begin + call, documents))]


def _slice(text: str, number: int, version: int, length: int) -> str:
    begin = (number * 7919 + version * 104_729) % (len(text) - length)
    return text[begin : begin + length]


def _int(number: int, version: int) -> Document:
    return number * 1000 + version


def _str(number: int, version: int) -> Document:
    return f"page {number}, version {version}"


def _flat(number: int, version: int) -> Document:
    """About 90 bytes as it is stored: what a crawler notes about a page."""
    return {
        "url": f"https://example.com/pages/{number:07d}",
        "status": 200,
        "length": 40_000 + number % 20_000,
        "fetched": 1_764_000_000.25 + number,
        "version": version,
    }


def _nested(number: int, version: int) -> Document:
    """A row with a list and a dict in it: an article of a shop."""
    return {
        "name": f"article {number}",
        "version": version,
        "price": 10.5 + number % 100,
        "tags": ["blue", "cotton", f"size {number % 10}"],
        "stock": {"Berlin": number % 7, "Vienna": number % 11, "open": True, "shelf": None},
    }


def _page(number: int, version: int) -> Document:
    """About 4 KiB: a page of the web, with its headers and links."""
    return {
        "url": f"https://example.com/pages/{number:07d}",
        "version": version,
        "status": 200,
        "fetched": 1_764_000_000.25 + number,
        "headers": {
            "content-type": "text/html; charset=utf-8",
            "content-length": str(40_000 + number % 20_000),
            "content-encoding": "gzip",
            "cache-control": "max-age=600, must-revalidate",
            "etag": f'"{number:016x}"',
            "last-modified": "Mon, 24 Nov 2025 10:00:00 GMT",
            "server": "nginx",
            "vary": "accept-encoding",
        },
        "links": [f"https://example.com/pages/{number * 31 + place:09d}" for place in range(_LINKS)],
        "text": _slice(_TEXT, number, version, _PAGE_TEXT),
    }


def _wide(number: int, version: int) -> Document:
    """A row of 40 fields: ints, floats, strs, a few flags and gaps."""
    row: dict[str, Document] = {"number": number, "version": version}
    for place in range(10):
        row[f"count{place}"] = number % 1000 + place
        row[f"share{place}"] = (number % 100 + place) / 8
        row[f"label{place}"] = f"label {number % 50 + place}"
    for place in range(4):
        row[f"flag{place}"] = (number + place) % 2 == 0
        row[f"note{place}"] = None
    return row


def _unicode(number: int, version: int) -> Document:
    """A text in many scripts."""
    return {"number": number, "version": version, "text": _slice(_SCRIPTS, number, version, _SCRIPTS_TEXT)}


#: A flat row: what memory per document is measured with.
FLAT = Shape("flat", _flat)

#: All shapes, none of them more often than another.
SHAPES = (
    Shape("int", _int),
    Shape("str", _str),
    FLAT,
    Shape("nested", _nested),
    Shape("page", _page),
    Shape("wide", _wide),
    Shape("unicode", _unicode),
)


def _mixed(number: int, version: int) -> Document:
    return SHAPES[number % len(SHAPES)].make(number, version)


#: All shapes together.
MIX = Shape("mix", _mixed)
