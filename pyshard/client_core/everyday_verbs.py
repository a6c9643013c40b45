"""What every client does for its everyday verbs: documents in place of records, conditional writes, updates. Pure.

Rules:

- `get` gives the document itself, and its default only where the key is missing: a document that is None is given.
- `add` and `replace` tell whether they stored the document, also an empty one, whose size is 0.
- `update` reads, has the caller's function make the new document, and writes it if nobody was faster; else again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, TypedDict

import attrs

from pyshard.client_core.argument_checks import condition_of, milliseconds
from pyshard.client_core.operation import VerbOptions
from pyshard.client_core.result_decoding import Decode, Item, Record, outcomes_of
from pyshard.client_core.typed_documents import document_type
from pyshard.compiled import IN_USE, document_leaves
from pyshard.errors import InvalidArgument, InvalidDocument, PyshardError, Unavailable, shown_value
from pyshard.model import document_encoding
from pyshard.model.cluster_state import ClusterState
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import SLOTS, shown_key, slot_of
from pyshard.model.strict_messagepack import quick_document
from pyshard.protocol.batch_answers import VERSION, Result
from pyshard.protocol.batch_operations import ABSENT, KEEP, PRESENT, Run
from pyshard.settings import settings

#: Seconds that the write of an update has at the least, once its document was read in time.
LEAST = 0.001


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "nothing was given"


#: In place of an argument that wasn't given, where None means something.
MISSING: Final = Missing.MISSING


class Location(TypedDict):
    """Where a key is.

    :ivar hash_: the key's hash, a number in [0, 1).
    :ivar slot: the hash as a whole number, 0 to 9,999,999.
    :ivar shard: the name of the shard that owns it, as the client's map has it.
    :ivar address: the shard's, ``host:port``.
    """

    hash_: float
    slot: int
    shard: str
    address: str


def location(state: ClusterState, key: bytes, index: str) -> Location:
    """Where a key is, by a map.

    :param key: its text in UTF-8.
    :param index: the index's name; empty for the default one.
    """
    slot = slot_of(key, index.encode())
    owner = state.map.lookup(slot)
    return {"hash_": slot / SLOTS, "slot": slot, "shard": owner.name, "address": owner.address}


def document_giver(default: object, type: type[Any] | None) -> Callable[[object, Record | None], Any]:
    """The function that makes what `get` gives, of a key and of what `read` gives for it.

    It raises `InvalidDocument` where the document doesn't fit the type.

    :param type: that of documents, which are converted; None: as they are stored.
    :raises InvalidArgument: it can't be the type of documents.
    """
    documents = None if type is None else document_type(type)

    def given(key: object, found: Record | None) -> Any:  # a document, or what the caller gave
        if found is None:
            return default
        return found["record"] if documents is None else documents.given(key, found["record"])

    return given


def documents_of(default: object, type: type[Any] | None) -> Decode:
    """What `get_many` gives for the results of reads.

    :param default: what a missing key gives.
    :param type: that of the documents, which are converted; None: as they are stored.
    :raises InvalidArgument: at once: `type` can't be a type of documents.
    """
    given = document_giver(default, type)

    def document(key: bytes, found: Any) -> object:  # what `outcomes_of` gives for a read
        if isinstance(found, PyshardError):
            return found
        try:
            return given(key.decode(), found)
        except InvalidDocument as error:
            return error

    def decode(run: Run, slots: Sequence[int], sizes: Sequence[int], results: list[Result]) -> list[object]:
        if IN_USE and type is None:
            found = document_leaves.found_documents(
                results, default, VERSION.size, quick_document, settings.MAX_ELEMENTS
            )
            if found is not None:
                return found
        return list(map(document, run.keys, outcomes_of(run, slots, sizes, results)))

    return decode


def replace_options(if_version: int | None, ttl: float | None) -> VerbOptions:
    """The options of `replace`: the key must exist, in that version if one is given.

    :raises InvalidArgument: one of them can't be used.
    """
    condition = PRESENT if if_version is None else condition_of(False, if_version)
    return VerbOptions(condition, milliseconds(ttl))


@attrs.frozen
class ConditionalWrite:
    """A write that is done only if nobody was faster.

    :param options: its condition and time to live.
    """

    document: Any
    record: bytes
    options: VerbOptions


class DocumentUpdate:
    """What `update` does. The function is given a document of its own each time, which it may change.

    :param function: given a document, gives the new one.
    :param default: what it is given for a key that is missing; `MISSING`: then nothing is done.
    :param ttl: seconds that the new document lives; None: for ever; `MISSING`: as long as the old one would
        have, to the millisecond.
    :raises InvalidArgument: `function` can't be called, or `ttl` is no time to live.
    :raises InvalidDocument: `default` can't be stored.
    """

    def __init__(
        self, function: Callable[[Any], Storable], default: object = MISSING, ttl: float | Missing | None = MISSING
    ) -> None:
        check_function(function)
        self._function = function
        self._default = None if default is MISSING else document_encoding.encode(default)[0]
        self._ttl = None if isinstance(ttl, Missing) else milliseconds(ttl)

    def write_after(self, item: Item | None) -> ConditionalWrite | None:
        """The write that follows what was read; None: there is nothing to be done.

        :raises InvalidArgument: the function gave None, or something that has to be awaited.
        :raises InvalidDocument: it gave what can't be stored.
        """
        if item is not None:
            document, condition, kept = item["record"], item["version"], KEEP
        elif self._default is not None:
            document, condition, kept = document_encoding.decode(self._default), ABSENT, 0
        else:
            return None
        new: object = self._function(document)
        if new is None:
            raise InvalidArgument("update: the function gave None, expected the new document; is its return missing?")
        if inspect.isawaitable(new):
            if inspect.iscoroutine(new):
                new.close()
            raise InvalidArgument("update: the function gave something to be awaited, expected the new document itself")
        record = document_encoding.encode(new)[0]
        return ConditionalWrite(new, record, VerbOptions(condition, kept if self._ttl is None else self._ttl))


def check_function(function: object) -> None:
    """Refuse what `update` can't call.

    :raises InvalidArgument: as it says.
    """
    if not callable(function):
        raise InvalidArgument(
            f"function: found {shown_value(function)}, expected a function that makes the new document of the old"
        )


def whether_removed(_: Run, __: Sequence[int], ___: Sequence[int], results: list[Result]) -> list[object]:
    """For each result of a removal whether there was something to remove. Its size doesn't tell: it may be 0."""
    return [result is not None for result in results]


def outrun(key: object) -> Unavailable:
    """The error for an update whose deadline has come."""
    return Unavailable(f"update of key {shown_key(key)}: others changed it each time, until the deadline; try again")
