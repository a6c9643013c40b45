"""A program that measures what changes of a primary take while a member is silent, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from resident import Made, report
from storage.contract.replica_steps import lead
from stores import PLENTY, Bench, prepared, task

from pyshard.model import document_encoding
from pyshard.protocol.batch_operations import Remove, Run, Touch, Write
from pyshard.storage import Sender

KINDS = ["memory", "lmdb"]
SENDER = Sender("a", "1")


def writes(count: int, length: int, size: int) -> Run:
    """A run of writes of documents of so many bytes, with keys of so many bytes."""
    record = document_encoding.encode("x" * size)[0]
    return Write("", [(b"%d" % number).zfill(length) for number in range(count)], [record] * count)


#: How many batches there are of each shape, what is written before, and what they do.
SHAPES: dict[str, tuple[int, Sequence[Run], Run]] = {
    "one by one": (4000, [], writes(1, 8, 10)),
    "tiny documents": (40, [], writes(1000, 8, 10)),
    "documents of 1 kB": (20, [], writes(1000, 8, 1000)),
    "documents of 50 kB": (400, [], writes(1, 8, 50_000)),
    "long keys": (10, [], writes(100, 20_000, 10)),
    "touches": (200, [writes(1, 8, 100_000)], Touch("", [b"00000000"], [10**9])),
    "removals": (1, [writes(10_000, 8, 10)], Remove("", writes(10_000, 8, 10).keys)),
}


def make(bench: Bench, count: int, run: Run) -> tuple[object, int]:
    """Have a primary apply batches, of which no member has any."""
    for _ in range(count):
        batch = type(run)(*(getattr(run, field) for field in run.__struct_fields__))
        bench.result(bench.store.apply([task(batch)], PLENTY, PLENTY, SENDER))
    return bench, bench.store.uncommitted.total


def main() -> None:
    """Measure each shape at each kind of store."""
    shapes: dict[str, Made] = {}
    with ExitStack() as stack:
        for kind in KINDS:
            for name, (count, before, run) in SHAPES.items():
                bench = stack.enter_context(prepared(kind))
                lead(bench, 1)
                bench.store.uncommitted._most = PLENTY
                for each in (*before, *([] if before else [run])):
                    bench.result(bench.store.apply([task(each)], PLENTY, PLENTY, SENDER))
                bench.result(bench.store.commit(bench.store.position.sequence))
                shapes[f"{kind}, {name}"] = partial(make, bench, count, run)
        report(shapes)


if __name__ == "__main__":
    main()
