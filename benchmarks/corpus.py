"""Makes large documents and those of YCSB, as `shapes` makes the usual ones; draws in which order they come. Pure."""

from __future__ import annotations

from random import Random

from pyshard import Document

#: Characters of a large document's text.
LARGE = 100 * 1024

#: Fields of a YCSB document, and characters of each.
FIELDS = 10
FIELD = 100

_LETTERS = Random(1).choices("abcdefghijklmnopqrstuvwxyz    ", k=2 * LARGE)
_TEXT = "".join(_LETTERS)


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


def some(documents: int, count: int, seed: int) -> list[int]:
    """Numbers of documents in random order, each as often as the others, give or take one."""
    random = Random(seed)
    numbers: list[int] = []
    while len(numbers) < count:
        numbers += random.sample(range(documents), min(documents, count - len(numbers)))
    return numbers
