"""One operation of a client, from the call to its Deferred."""

from __future__ import annotations

from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred

from pyshard import documents
from pyshard.batch import ALWAYS, ITEM, VERSION, Result
from pyshard.errors import PyshardError
from pyshard.hashing import slot_to_hash

#: What names a key within a shard: its text, and in a named index the index's name with it.
Place: TypeAlias = bytes | tuple[str, bytes]

#: The verbs that change nothing.
READING = frozenset({"read", "has", "item"})


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
    :ivar place: what it is about.
    :ivar weight: bytes that it adds to a box.
    """

    __slots__ = (
        "changes", "deferred", "done", "expires", "index", "key", "options", "place", "record", "refused", "size",
        "slot", "verb", "weight",
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
        self.changes = verb not in READING
        self.index = index
        self.key = key
        self.place: Place = (index, key) if index else key
        self.weight = len(key) + len(record) + len(options.initial)
        self.slot = slot
        self.expires = expires
        self.record = record
        self.size = size
        self.options = options
        self.deferred: Deferred[object] = Deferred()
        self.done = False
        self.refused: float | None = None  # when a shard first said that it doesn't know the index

    def __str__(self) -> str:
        return f"{self.verb} of key {shown(self.key)}"

    def fail(self, error: PyshardError) -> None:
        """Tell the caller what went wrong, unless it has been told something."""
        self.finish(error)

    def finish(self, result: Result | PyshardError) -> None:
        """Hand the shard's outcome to the caller, once."""
        if self.done:
            return
        outcome: object = result
        if not isinstance(result, PyshardError):
            try:
                outcome = self._answer(result)
            except PyshardError as error:
                outcome = error
        self.done = True
        if isinstance(outcome, PyshardError):
            self.deferred.errback(outcome)
        else:
            self.deferred.callback(outcome)

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


def shown(key: bytes) -> str:
    """A key as messages show it."""
    key = key if len(key) <= 60 else key[:57] + b"..."
    return repr(key.decode("utf-8", "replace"))
