"""Makes the documents of the benchmarks from their numbers and versions, the same for both sides. Pure.

The version is the number of the round that wrote the document. So the check after a round notices a value that an
earlier round wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TypeAlias

from pyshard import Document

Pair: TypeAlias = tuple[str, Document]

#: Characters of a large document's text.
LARGE = 100 * 1024

#: Fields of a YCSB document, and characters of each.
FIELDS = 10
FIELD = 100

_LETTERS = Random(1).choices("abcdefghijklmnopqrstuvwxyz    ", k=2 * LARGE)
_TEXT = "".join(_LETTERS)


def key(number: int) -> str:
    """The key of a small document."""
    return f"https://example.com/pages/{number:07d}"


def small(number: int, version: int) -> Document:
    """A document that takes about 90 bytes as it is stored: what a crawler notes about a page."""
    return {
        "url": f"https://example.com/pages/{number:07d}",
        "status": 200,
        "length": 40_000 + number % 20_000,
        "fetched": 1_764_000_000.25 + number,
        "version": version,
    }


def large_key(number: int) -> str:
    """The key of a large document."""
    return f"large {number}"


def large(number: int, version: int) -> Document:
    """A document of 100 KiB."""
    begin = (number * 7919 + version * 104_729) % LARGE
    return {"number": number, "version": version, "text": _TEXT[begin : begin + LARGE]}


def user_key(number: int) -> str:
    """The key of a YCSB document."""
    return f"user{number}"


def user(number: int, version: int) -> Document:
    """A YCSB document: ten fields of a hundred characters, with number and version for the check."""
    begin = (number * 7919 + version * 104_729) % LARGE
    fields = {f"field{place}": _TEXT[begin + place * FIELD : begin + (place + 1) * FIELD] for place in range(FIELDS)}
    return {"number": number, "version": version, **fields}


def small_pairs(documents: int, version: int, call: int) -> Iterator[list[Pair]]:
    """All small documents, in parts of `call` documents."""
    for begin in range(0, documents, call):
        yield [(key(number), small(number, version)) for number in range(begin, min(begin + call, documents))]


def some(documents: int, count: int, seed: int) -> list[int]:
    """Numbers of documents in random order, each as often as the others, give or take one."""
    random = Random(seed)
    numbers: list[int] = []
    while len(numbers) < count:
        numbers += random.sample(range(documents), min(documents, count - len(numbers)))
    return numbers
