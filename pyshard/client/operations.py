"""One operation of a client, from the call to its Deferred; and the queue in which operations wait for a shard.

Rules the queue keeps, from which the client's promises follow:

- operations leave in the order in which they were issued;
- boxes in flight at the same time are concurrent for the shard, so no two of them hold the same key unless both
  only read it; nor does a box change a key after reading it, for the read may have to go out again when the change
  has happened and the answers were lost; hence operations on one key take effect in the order issued (two reads with
  no change between them have none), and one that must go out again (redirected, or a read whose connection broke)
  goes to the front without overtaking or being overtaken;
- what waits is bounded (`Overloaded`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

import attrs
from twisted.internet.defer import Deferred

from pyshard import documents
from pyshard.batch import ALWAYS, ITEM, VERSION, Has, Increment, Item, Pop, Read, Remove, Result, Run, Touch, Write
from pyshard.errors import Overloaded, PyshardError
from pyshard.hashing import slot_to_hash
from pyshard.settings import settings


@attrs.frozen
class Options:
    """What only some verbs have.

    :param condition: on a write, pop or remove.
    :param ttl: of a write or touch, in milliseconds; 0 is for ever.
    :param initial: the record that an increment begins with.
    """

    condition: int = ALWAYS
    ttl: int = 0
    initial: bytes = b""


NO_OPTIONS = Options()


class Operation:
    """One verb on one key, and the Deferred that its caller holds.

    :param verb: the name of its run, such as "read" (`pyshard.batch`).
    :param index: the index's name; empty for the default one.
    :param expires: the deadline, in the clock's seconds.
    :param record: what a write stores, or an increment adds; else empty.
    :param size: what a write answers when it stored the record.
    :param options: what only some verbs have.
    :ivar changes: whether it may change something, so that it must not be repeated when its answer is lost.
    """

    __slots__ = (
        "changes", "deferred", "done", "expires", "index", "key", "options", "record", "refused", "size", "slot",
        "verb",
    )  # fmt: skip

    def __init__(
        self,
        verb: str,
        index: str,
        key: bytes,
        slot: int,
        expires: float,
        record: bytes = b"",
        size: int = 0,
        options: Options = NO_OPTIONS,
    ) -> None:
        self.verb = verb
        self.changes = verb not in ("read", "has", "item")
        self.index = index
        self.key = key
        self.slot = slot
        self.expires = expires
        self.record = record
        self.size = size
        self.options = options
        self.deferred: Deferred[object] = Deferred()
        self.done = False
        self.refused: float | None = None  # when a shard first said that it doesn't know the index

    @property
    def weight(self) -> int:
        """Bytes that it adds to a box."""
        return len(self.key) + len(self.record) + len(self.options.initial)

    def __str__(self) -> str:
        key = self.key if len(self.key) <= 60 else self.key[:57] + b"..."
        return f"{self.verb} of key {key.decode('utf-8', 'replace')!r}"

    def finish(self, result: Result | PyshardError) -> None:
        """Hand the shard's outcome to the caller, once."""
        if self.done:
            return
        self.done = True
        if isinstance(result, PyshardError):
            self.deferred.errback(result)
            return
        try:
            answer = self._answer(result)
        except PyshardError as error:
            self.deferred.errback(error)
        else:
            self.deferred.callback(answer)

    def _answer(self, result: Result) -> object:
        if self.verb in ("read", "pop"):
            if not isinstance(result, bytes):
                return None
            return {"hash_": slot_to_hash(self.slot), "record": documents.decode(result, VERSION.size)}
        if self.verb == "write":
            return self.size if result else 0
        if self.verb == "remove":
            return documents.size_in(result) if isinstance(result, bytes) else 0
        if self.verb == "item":
            return self._item(result) if isinstance(result, bytes) else None
        if self.verb == "increment":
            return documents.decode(result) if isinstance(result, bytes) else None
        return bool(result)

    def _item(self, result: bytes) -> dict[str, object]:
        version, expires, remaining = ITEM.unpack_from(result)
        return {
            "key": self.key.decode(),
            "hash_": slot_to_hash(self.slot),
            "record": documents.decode(result, ITEM.size),
            "version": version,
            "expiry": expires / 1000 if expires else None,
            "ttl": remaining / 1000 if expires else None,
            "size": documents.size_in(result, ITEM.size),
        }


class Box:
    """Operations that travel together."""

    __slots__ = ("changed", "operations", "sent", "touched")

    def __init__(self, operations: list[Operation], sent: float) -> None:
        self.operations = operations
        self.sent = sent
        self.touched = {(one.index, one.key) for one in operations}
        self.changed = {(one.index, one.key) for one in operations if one.changes}

    def runs(self) -> list[Run]:
        """The operations as runs: neighbors of one verb and index together."""
        return [
            _run(verb, index, list(neighbors))
            for (verb, index), neighbors in groupby(self.operations, attrgetter("verb", "index"))
        ]


def _run(verb: str, index: str, operations: list[Operation]) -> Run:
    """Operations of one verb on one index as a run."""
    keys = [one.key for one in operations]
    records = [one.record for one in operations]
    ttls = [one.options.ttl for one in operations]
    conditions: list[int] | None = [one.options.condition for one in operations]
    if all(condition == ALWAYS for condition in conditions or ()):
        conditions = None
    if verb == "write":
        return Write(index, keys, records, conditions, ttls if any(ttls) else None)
    if verb == "touch":
        return Touch(index, keys, ttls)
    if verb == "increment":
        return Increment(index, keys, records, [one.options.initial for one in operations])
    if verb == "pop":
        return Pop(index, keys, conditions)
    if verb == "remove":
        return Remove(index, keys, conditions)
    reading: dict[str, type[Read | Has | Item]] = {"read": Read, "has": Has, "item": Item}
    return reading[verb](index, keys)


class OperationQueue:
    """Operations for one shard: waiting, and in flight.

    :param limit: boxes in flight at the same time.
    """

    def __init__(self, limit: int = settings.BOXES_IN_FLIGHT) -> None:
        self._limit = limit
        self._waiting: deque[Operation] = deque()
        self._weight = 0
        self.in_flight: list[Box] = []

    def __len__(self) -> int:
        """How many operations wait."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting and not self.in_flight

    def add(self, operation: Operation) -> None:
        """Have an operation wait for its turn.

        :raises Overloaded: too much waits already.
        """
        if len(self._waiting) >= settings.MAX_WAITING or self._weight >= settings.MAX_WAITING_BYTES:
            raise Overloaded(
                f"{len(self._waiting):,} operations with {self._weight:,} bytes wait for this shard already; "
                "wait for answers before you issue more"
            )
        self._waiting.append(operation)
        self._weight += operation.weight

    def put_back(self, operations: Iterable[Operation]) -> None:
        """Have operations that were in flight go out again, before all others, in the order given."""
        again = [one for one in operations if not one.done]
        self._waiting.extendleft(reversed(again))
        self._weight += sum(one.weight for one in again)

    def next_box(self, now: float) -> Box | None:
        """The next operations to send, now in flight; None when nothing can go now."""
        if not self._waiting or len(self.in_flight) >= self._limit:
            return None
        touched = set().union(*(box.touched for box in self.in_flight))
        changed = set().union(*(box.changed for box in self.in_flight))
        read: set[tuple[str, bytes]] = set()
        taken: list[Operation] = []
        weight = 0
        while self._waiting and len(taken) < settings.BOX_OPERATIONS:
            one = self._waiting[0]
            if one.changes:
                if (touched or read) and ((one.index, one.key) in touched or (one.index, one.key) in read):
                    break
            else:
                place = (one.index, one.key)
                if place in changed:
                    break
                read.add(place)
            if taken and weight + one.weight > settings.BOX_BYTES:
                break
            taken.append(self._waiting.popleft())
            weight += one.weight
        if not taken:
            return None
        self._weight -= weight
        box = Box(taken, now)
        self.in_flight.append(box)
        return box

    def landed(self, box: Box) -> None:
        """A box is no longer in flight."""
        self.in_flight.remove(box)

    def take_waiting(self) -> list[Operation]:
        """Everything that waits, in order; the queue forgets it."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._weight = 0
        return taken

    def expired(self, now: float) -> tuple[list[Operation], list[Operation]]:
        """The operations past their deadline: those that wait, which the queue forgets, and those in flight."""
        waiting = [one for one in self._waiting if one.expires <= now]
        if waiting:
            self._waiting = deque(one for one in self._waiting if one.expires > now)
            self._weight -= sum(one.weight for one in waiting)
        flying = [one for box in self.in_flight for one in box.operations if not one.done and one.expires <= now]
        return waiting, flying

    def next_deadline(self) -> float | None:
        """The earliest deadline of all operations; None when there are none."""
        flying = (one for box in self.in_flight for one in box.operations)
        return min((one.expires for group in (self._waiting, flying) for one in group if not one.done), default=None)
