"""A program that measures what changes take that a store in memory keeps for a follower, and what is counted."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from resident import Made, report
from stores import PLENTY, Bench, prepared, task

from pyshard.model import document_encoding
from pyshard.protocol.batch_operations import Run, Write
from pyshard.storage import MemoryStore

#: Whether older ones are packed, or all are kept as they are.
KINDS = ["packed", "loose"]

#: How many batches there are of each shape, how many writes one has, and the bytes of a key and of a document.
SHAPES: dict[str, tuple[int, int, int, int]] = {
    "one by one": (60_000, 1, 8, 10),
    "ten by ten": (12_000, 10, 8, 10),
    "tiny documents": (150, 1000, 8, 10),
    "documents of 1 kB": (30, 1000, 8, 1000),
    "documents of 50 kB": (800, 1, 8, 50_000),
    "long keys": (20, 100, 20_000, 10),
}


def writes(count: int, length: int, size: int) -> Run:
    """Writes of some keys, each of which is an object of its own, as it is in a box."""
    keys = [(b"%d" % number).zfill(length) for number in range(count)]
    return Write("", keys, [document_encoding.encode("x" * size)[0]] * count)


def make(bench: Bench, kind: str, batches: int, count: int, length: int, size: int) -> tuple[object, int]:
    """Have a store apply batches, and keep all for a follower that takes none."""
    assert isinstance(bench.store, MemoryStore)
    bench.store.follow("f", bench.store.sequence)
    ring = bench.store._followers.ring
    assert ring is not None
    if kind == "loose":
        ring._block = PLENTY
    for _ in range(batches):
        bench.result(bench.store.apply([task(writes(count, length, size))], PLENTY, PLENTY))
    return bench, ring.size


def main() -> None:
    """Measure each shape of each kind; what is overwritten is there before."""
    shapes: dict[str, Made] = {}
    with ExitStack() as stack:
        for kind in KINDS:
            for name, (batches, *shape) in SHAPES.items():
                bench = stack.enter_context(prepared("memory"))
                bench.result(bench.store.apply([task(writes(*shape))], PLENTY, PLENTY))
                shapes[f"{kind}, {name}"] = partial(make, bench, kind, batches, *shape)
        report(shapes)


if __name__ == "__main__":
    main()
