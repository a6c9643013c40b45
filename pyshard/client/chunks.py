"""A part of a bulk verb: many operations of one verb on one index in columns, from the call to their answers.

What a single operation costs in Python, a chunk does in C for all of its operations, as far as it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Protocol, cast

from pyshard import documents
from pyshard.batch import VERSION, Has, Item, Pop, Read, Remove, Result, Run, Write, part, picker, weight
from pyshard.client.operations import Place, shown
from pyshard.errors import PyshardError
from pyshard.hashing import slots_to_hashes


class Receiver(Protocol):
    """Whoever is told what became of a chunk."""

    def landed(self, chunk: Chunk, outcomes: Sequence[object]) -> None:
        """Take the outcomes: what the single verb gives, or a `PyshardError`; none for operations that go out again."""
        ...


class Chunk:
    """Some operations of a bulk verb that travel together.

    :param run: the verb, the index and the columns.
    :param slots: the slot of each key.
    :param positions: where the outcome of each belongs in the whole.
    :param sizes: of a write: what it answers for each key; else empty.
    :param expires: the deadline, in the clock's seconds.
    :param receiver: is told what became of it, once.
    :ivar changes: whether it may change something, so that it must not be repeated when its answer is lost.
    :ivar weight: bytes that it adds to a box.
    """

    __slots__ = (
        "_places", "changes", "done", "expires", "index", "positions", "receiver", "refused", "run", "sizes", "slots",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        slots: Sequence[int],
        positions: Sequence[int],
        sizes: Sequence[int],
        expires: float,
        receiver: Receiver,
    ) -> None:
        self.run = run
        self.index = run.index
        self.slots = slots
        self.positions = positions
        self.sizes = sizes
        self.expires = expires
        self.receiver = receiver
        self.changes = not isinstance(run, Read | Has | Item)
        self._places: set[Place] | None = None
        self.weight = weight(run)
        self.done = False
        self.refused: float | None = None  # when a shard first said that it doesn't know the index

    @property
    def places(self) -> set[Place]:
        """What it is about."""
        if self._places is None:
            keys = self.run.keys
            self._places = set(zip(repeat(self.index), keys)) if self.index else set(keys)
        return self._places

    def __len__(self) -> int:
        return len(self.slots)

    def __str__(self) -> str:
        verb = type(self.run).__name__.lower()
        return f"{verb} of {len(self):,} key{'' if len(self) == 1 else 's'} ({shown(self.run.keys[0])} …)"

    def part(self, places: Sequence[int]) -> Chunk:
        """The operations at some places, as a chunk of its own with the same deadline."""
        pick = picker(places)
        chunk = Chunk(
            part(self.run, places),
            pick(self.slots),
            pick(self.positions),
            pick(self.sizes) if self.sizes else self.sizes,
            self.expires,
            self.receiver,
        )
        chunk.refused = self.refused
        return chunk

    def finish(self, results: list[Result], failed: dict[int, PyshardError], again: Sequence[int]) -> None:
        """Hand the shard's outcomes on, once.

        :param results: one for each key.
        :param failed: place → error of those that failed.
        :param again: places of those that go out again, as a chunk of their own, and aren't handed on now.
        """
        if self.done:
            return
        if again:
            left = set(again)
            places = [place for place in range(len(self)) if place not in left]
            errors = {number: failed[place] for number, place in enumerate(places) if place in failed}
            if places:
                self.part(places).finish([results[place] for place in places], errors, [])
        else:
            outcomes = self._outcomes(results)
            for place, error in failed.items():
                outcomes[place] = error
            self.receiver.landed(self, outcomes)
        self.done = True

    def fail(self, error: PyshardError) -> None:
        """Hand an error on for every operation, unless something was handed on."""
        if not self.done:
            self.done = True
            self.receiver.landed(self, [error] * len(self))

    def _outcomes(self, results: list[Result]) -> list[object]:
        if isinstance(self.run, Write):
            if all(results):
                return list(self.sizes)
            return [size if result else 0 for size, result in zip(self.sizes, results, strict=True)]
        if isinstance(self.run, Read | Pop):
            return self._records(results)
        if isinstance(self.run, Remove):
            return [_size(result) for result in results]
        return [bool(result) for result in results]

    def _records(self, results: list[Result]) -> list[object]:
        hashes = slots_to_hashes(self.slots)
        if None not in results:
            try:
                found = documents.decode_many(cast("list[bytes]", results), VERSION.size)
            except PyshardError:
                pass  # below it turns out which one it is
            else:
                return [{"hash_": hash_, "record": one} for hash_, one in zip(hashes, found, strict=True)]
        return [_record(hash_, result) for hash_, result in zip(hashes, results, strict=True)]


def _record(hash_: float, result: Result) -> object:
    try:
        if isinstance(result, bytes):
            return {"hash_": hash_, "record": documents.decode(result, VERSION.size)}
    except PyshardError as error:
        return error
    return None


def _size(head: Result) -> int | PyshardError:
    try:
        return documents.size_in(head) if isinstance(head, bytes) else 0
    except PyshardError as error:
        return error
