"""One operation of a client: one verb on one key, with its options, from the call to its outcome.

Rules:

- An operation is finished once. Whoever comes second changes nothing.
- One that may change something is never sent again when its answer was lost (`Operation.changes`).
- How its caller hears the outcome is a client's own: each has a subclass with its `Operation.tell`.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import msgspec

from pyshard.client_core.argument_checks import condition_of, milliseconds, whole_number
from pyshard.errors import DocumentTooLarge, PyshardError, shortened
from pyshard.model import document_encoding
from pyshard.protocol.batch_operations import ALWAYS, READING_RUNS
from pyshard.settings import settings


@attrs.frozen
class VerbOptions:
    """What only some verbs have.

    :param condition: on a write, pop, remove or touch.
    :param ttl: of a write or touch, or of a key that an increment creates; in milliseconds; 0 is for ever. Of a
        write also `KEEP`.
    :param initial: the record that an increment begins with.
    """

    condition: int = ALWAYS
    ttl: int = 0
    initial: bytes = b""


NO_OPTIONS = VerbOptions()


def options_for(if_absent: bool, if_version: int | None, ttl: float | None) -> VerbOptions:
    """The options that a verb's arguments ask for.

    :raises InvalidArgument: as `condition_of` and `milliseconds`.
    """
    if if_absent is False and if_version is None and ttl is None:  # as is mostly so
        return NO_OPTIONS
    return VerbOptions(condition_of(if_absent, if_version), milliseconds(ttl))


def increment_of(by: int, initial: int, ttl: float | None = None) -> tuple[bytes, VerbOptions]:
    """What `increment` sends: the record of what is added, and the options.

    :raises InvalidArgument: one of them is no int.
    :raises DocumentTooLarge: together they are past the size of a document.
    """
    amount = document_encoding.encode(whole_number("by", by))[0]
    start = document_encoding.encode(whole_number("initial", initial))[0]
    options = VerbOptions(ttl=milliseconds(ttl), initial=start)
    if len(amount) + len(options.initial) > settings.MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(
            f"by and initial have {len(amount):,} and {len(options.initial):,} bytes as stored; "
            f"together they have at most {settings.MAX_DOCUMENT_BYTES:,}"
        )
    return amount, options


class Operation(msgspec.Struct, eq=False):  # as its `__init__` is in C
    """One verb on one key.

    :param verb: the name of its run, such as "read" (`pyshard.protocol.batch_operations`).
    :param index: the index's name; empty for the default one.
    :param expires: the deadline, in the clock's seconds.
    :param weight: bytes that it adds to a box.
    :param record: what a write stores, or an increment adds; else empty.
    :param size: what a write answers when it stored the record: its size; or True, and False when it did not.
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
    options: VerbOptions = NO_OPTIONS
    done: bool = False
    refused: float | None = None  # when a shard first said that it doesn't know the index

    count: ClassVar[int] = 1

    @property
    def withdrawn(self) -> bool:
        """Whether nobody wants it any more, so that it isn't sent if it wasn't yet."""
        return False

    @property
    def changes(self) -> bool:
        """Whether it may change something, so that it must not be repeated when its answer is lost."""
        return self.verb not in READING_RUNS

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
        self.tell(outcome)

    def tell(self, outcome: object) -> None:
        """Hand the outcome to the caller, in the way of the client that has it."""
        raise NotImplementedError


def shown(key: bytes) -> str:
    """A key as messages show it."""
    return repr(shortened(key.decode("utf-8", "replace")))
