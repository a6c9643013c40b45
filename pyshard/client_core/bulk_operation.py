"""A part of a bulk verb: many operations of one verb on one index, for one shard, in columns.

It goes the same way as a single operation (`pyshard.client_core.operation`), from the call to the answers. What a
single operation costs in Python, a bulk operation does in C for all of its operations, as far as it can.

Rules:

- A part is finished once.
- What goes out again does so as a part of its own, with the same deadline.
- A read whose room is used up isn't sent any more (`pyshard.client_core.read_room`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pyshard.client_core.read_room import UNREAD, ReadRoom
from pyshard.client_core.result_decoding import Decode, outcomes_in
from pyshard.errors import PyshardError
from pyshard.protocol.batch_answers import Answer, Result, decode_answers
from pyshard.protocol.batch_operations import Run, Write, changes, part, verb_of, weight
from pyshard.protocol.columns import picker


class BulkReceiver(Protocol):
    """Who is told what became of a part."""

    @property
    def decode(self) -> Decode:
        """Makes outcomes of results, where it isn't a write."""
        ...

    @property
    def room(self) -> ReadRoom | None:
        """What the answers may take; None: there is no bound."""
        ...

    def part_done(self, bulk_operation: BulkOperation, outcomes: list[object]) -> None:
        """Take the outcomes: what the single verb gives, or a `PyshardError`; none for operations that go out again.

        For a write it is whether the document was stored.
        """
        ...


class BulkOperation:
    """Some operations of a bulk verb that travel together.

    :param run: the verb, the index and the columns.
    :param slots: the slot of each key.
    :param positions: where the outcome of each belongs in the whole; a range: in their order from 0 on.
    :param expires: the deadline, in the clock's seconds.
    :param receiver: is told what became of it, once.
    :ivar changes: whether it may change something, so that it must not be repeated when its answer is lost.
    :ivar count: how many operations it is.
    :ivar answer_bytes: how many bytes its answer had; 0: there is none yet.
    """

    __slots__ = (
        "_outcomes", "_weight", "answer_bytes", "changes", "count", "done", "expires", "index", "positions", "receiver",
        "refused", "run", "slots",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        slots: Sequence[int],
        positions: Sequence[int],
        expires: float,
        receiver: BulkReceiver,
    ) -> None:
        self.run = run
        self.index = run.index
        self.slots = slots
        self.positions = positions
        self.expires = expires
        self.receiver = receiver
        self.changes = changes(run)
        self.count = len(slots)
        self.done = False
        self.refused: float | None = None  # when a shard first said that it doesn't know the index
        self._weight: int | None = None
        self._outcomes: list[object] | None = None
        self.answer_bytes = 0

    @property
    def weight(self) -> int:
        """Bytes that it adds to a box; counted when somebody asks, as nobody does where it is sent in parts."""
        if self._weight is None:
            self._weight = weight(self.run)
        return self._weight

    @property
    def withdrawn(self) -> bool:
        """Whether there is no room for its answer, so that it isn't sent (any more)."""
        room = self.receiver.room
        return room is not None and room.full

    def __len__(self) -> int:
        return len(self.slots)

    def __str__(self) -> str:
        return f"bulk {verb_of(self.run)}"  # without keys: messages of bulk verbs have none

    def part(self, places: Sequence[int]) -> BulkOperation:
        """The operations at some places, as a bulk operation of its own with the same deadline."""
        pick = picker(places)
        bulk_operation = BulkOperation(
            part(self.run, places),
            pick(self.slots),
            places if isinstance(self.positions, range) else pick(self.positions),
            self.expires,
            self.receiver,
        )
        bulk_operation.refused, bulk_operation.answer_bytes = self.refused, self.answer_bytes
        return bulk_operation

    def answer_in(self, data: bytes) -> Answer:
        """What a shard answers to this operation alone; it is to be given to `finish`.

        An answer without errors mostly becomes outcomes at once, which are kept here; then the results are left out.

        :param data: MessagePack.
        :raises BadRequest: as `decode_answers`.
        """
        self.answer_bytes = len(data)
        if self.receiver.room is not None:
            self.receiver.room.take(len(data))
        self._outcomes = outcomes_in(data, self.run, self.slots, self.receiver.decode)
        if self._outcomes is not None:
            return Answer([], {})
        [answer] = decode_answers(data, [self.run])
        return answer

    def finish(self, results: list[Result], failed: dict[int, PyshardError], again: Sequence[int]) -> None:
        """Hand the shard's outcomes on, once.

        :param results: one for each key.
        :param failed: place → error of those that failed.
        :param again: places of those that go out again, as a bulk operation of their own, and aren't handed on now.
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
            outcomes = self._outcomes
            if outcomes is None:
                write = isinstance(self.run, Write)
                outcomes = list(results) if write else self.receiver.decode(self.run, self.slots, (), results)
            for place, error in failed.items():
                outcomes[place] = error
            self.receiver.part_done(self, outcomes)
        self.done = True

    def leave_unread(self) -> None:
        """Hand on for every operation that it wasn't read, unless something was handed on."""
        if not self.done:
            self.done = True
            self.answer_bytes = 0  # that of a part which was answered before
            self.receiver.part_done(self, [UNREAD] * len(self))

    def fail(self, error: PyshardError) -> None:
        """Hand an error on for every operation, unless something was handed on."""
        if not self.done:
            self.done = True
            self.receiver.part_done(self, [error] * len(self))
