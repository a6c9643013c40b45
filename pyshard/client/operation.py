"""One operation of a client, from the call to its Deferred."""

from __future__ import annotations

from typing import ClassVar

import attrs
import msgspec
from twisted.internet.defer import Deferred

from pyshard.client.records import condition_of, milliseconds
from pyshard.errors import PyshardError, shortened
from pyshard.protocol.batches import ALWAYS

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


def options_for(if_absent: bool, if_version: int | None, ttl: float | None) -> Options:
    """The options that a verb's arguments ask for.

    :raises InvalidArgument: see `pyshard.client.records`.
    """
    if not if_absent and if_version is None and ttl is None:  # as is mostly so
        return NO_OPTIONS
    return Options(condition_of(if_absent, if_version), milliseconds(ttl))


class Operation(msgspec.Struct, eq=False):  # as its `__init__` is in C
    """One verb on one key, and the Deferred that its caller holds.

    :param verb: the name of its run, such as "read" (`pyshard.protocol.batches`).
    :param index: the index's name; empty for the default one.
    :param expires: the deadline, in the clock's seconds.
    :param weight: bytes that it adds to a box.
    :param record: what a write stores, or an increment adds; else empty.
    :param size: what a write answers when it stored the record.
    :param options: what only some verbs have.
    :cvar count: how many operations it is.
    """

    verb: str
    index: str
    key: bytes
    slot: int
    expires: float
    weight: int
    record: bytes = b""
    size: int = 0
    options: Options = NO_OPTIONS
    deferred: Deferred[object] = msgspec.field(default_factory=Deferred)
    done: bool = False
    refused: float | None = None  # when a shard first said that it doesn't know the index

    count: ClassVar[int] = 1

    @property
    def changes(self) -> bool:
        """Whether it may change something, so that it must not be repeated when its answer is lost."""
        return self.verb not in READING

    def __str__(self) -> str:
        return f"{self.verb} of key {shown(self.key)}"

    def fail(self, error: PyshardError) -> None:
        """Tell the caller what went wrong, unless it has been told something."""
        self.finish(error)

    def finish(self, outcome: object) -> None:
        """Hand the caller what the verb gives, or the `PyshardError` by which it failed; once."""
        if self.done:
            return
        self.done = True
        if isinstance(outcome, PyshardError):
            self.deferred.errback(outcome)
        else:
            self.deferred.callback(outcome)


def shown(key: bytes) -> str:
    """A key as messages show it."""
    return repr(shortened(key.decode("utf-8", "replace")))
