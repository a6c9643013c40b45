"""A program that measures what documents take in a store in memory, with times to live and without, and what counts."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial

import attrs
from resident import Made
from stores import PLENTY, at_once, task

from pyshard.model import document_encoding
from pyshard.protocol.batch_operations import Remove, Run, Touch, Write
from pyshard.storage import MemoryStore

BATCH = 1000
BATCH_BYTES = 200_000
LONG = 10**10  # milliseconds to live
NOW = 1.7e9


@attrs.frozen
class Shape:
    """Documents of one kind.

    :param documents: how many.
    :param key: bytes of each key.
    :param record: bytes of each document, more or less.
    :param ttl: milliseconds to live, of the first one; each further one lives as much longer as `spread` says.
    :param touches: how often each is given another time to live, later or sooner, under a key of its own in memory.
    """

    documents: int
    key: int = 10
    record: int = 1
    ttl: int = LONG
    spread: int = 7
    touches: int = 0


REMOVED = "removed"
SHAPES = {
    "tiny, for ever": Shape(15_000, ttl=0),
    "tiny": Shape(15_000),
    "tiny, all at once": Shape(15_000, spread=0),
    "tiny, far apart": Shape(15_000, spread=1_000_000),
    "touched once": Shape(15_000, ttl=0, touches=1),
    "touched often": Shape(15_000, touches=2),
    "of 300 bytes": Shape(15_000, record=300),
    "large": Shape(200, record=50_000),
    "long keys": Shape(200, key=50_000),
    "long keys, touched": Shape(200, key=50_000, ttl=0, touches=3),
}


def batches(shape: Shape) -> Iterator[tuple[list[bytes], list[int]]]:
    """The keys, some at a time, each new in memory, and their times to live."""
    step = max(1, min(BATCH, BATCH_BYTES // (shape.key + shape.record)))
    for first in range(0, shape.documents, step):
        numbers = range(first, min(first + step, shape.documents))
        keys = [(b"%d" % number).zfill(shape.key) for number in numbers]
        yield keys, [shape.ttl + number * shape.spread for number in numbers]


def apply(store: MemoryStore, run: Run) -> None:
    """Apply one run."""
    (answer,) = at_once(store.apply([task(run)], PLENTY, PLENTY))
    assert answer.errors == {}


def filled(shape: Shape) -> tuple[MemoryStore, int]:
    """A store with documents, and what counts for them."""
    store = MemoryStore("1d", lambda: NOW)
    for keys, ttls in batches(shape):
        records = [document_encoding.encode("x" * shape.record)[0] for _ in keys]
        apply(store, Write("", keys, records, None, ttls if shape.ttl else None))
    for each in range(shape.touches):
        for keys, ttls in batches(shape):
            apply(store, Touch("", keys, [LONG + ttl + (each % 3) * 10**7 for ttl in ttls]))
    return store, store.used


def emptied(key: int) -> tuple[MemoryStore, int]:
    """A store of which all documents were removed again; each wave has other keys, spread over all buckets."""
    store = MemoryStore("1d", lambda: NOW)
    for keys, ttls in batches(Shape(4_000, key)):
        apply(store, Write("", keys, [b""] * len(keys), None, ttls if ttls[0] % 2 else None))
        apply(store, Remove("", keys))
    return store, store.used


def traced(made: Made) -> tuple[int, int]:
    """What counts for something, and the bytes that Python takes for it."""
    tracemalloc.start()
    kept, counted = made()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept
    return counted, taken


if __name__ == "__main__":
    shapes: dict[str, Made] = {name: partial(filled, shape) for name, shape in SHAPES.items()}
    shapes[REMOVED] = partial(emptied, 10_000)
    sys.stdout.write(json.dumps({name: traced(made) for name, made in shapes.items()}))
