"""What a client asks of a shard: a batch of operations, as columns. Pure.

A batch is a list of *runs*. A run is one verb on one index over many keys, as columns: one call in C then decodes or
applies many operations.

Rules:

- a batch takes effect in its order, run by run and key by key;
- each run crosses the wire as one MessagePack array: the verb, then the fields in the order in which they stand here
  (docs/protocol.md, "Batches"; `pyshard.protocol.batch_encoding`);
- every column has one element for each key;
- a verb that isn't known to be harmless counts as one that changes something.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec

from pyshard.protocol.columns import picker, total_size
from pyshard.settings import settings

_T = TypeVar("_T")

#: Milliseconds of the longest time to live; the shortest is 0, which means for ever.
LONGEST_TTL = 100 * 366 * 86_400_000

#: Conditions on a change: none; that the key doesn't exist; that it exists, in any version. Any other number is the
#: version that the key must have.
ALWAYS, ABSENT, PRESENT = -1, 0, -2

#: In place of a write's time to live: the document expires when the one that it replaces would have expired.
KEEP = -1

#: How many bytes of a removed record `Remove` answers with: those that hold its size.
HEAD_BYTES = 5

_Ttl: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_TTL)]
_TtlOrKeep: TypeAlias = Annotated[int, msgspec.Meta(ge=KEEP, le=LONGEST_TTL)]

#: A list of at most so many elements is accepted; a longer one is refused by its length, before any of it is decoded.
MAX_LENGTH = msgspec.Meta(max_length=settings.MAX_BATCH)

_Binaries: TypeAlias = Annotated[list[bytes], MAX_LENGTH]
_Conditions: TypeAlias = Annotated[list[int], MAX_LENGTH]
_Ttls: TypeAlias = Annotated[list[_Ttl], MAX_LENGTH]
_TtlsOrKeep: TypeAlias = Annotated[list[_TtlOrKeep], MAX_LENGTH]


class _Run(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What all runs have: the index's name (empty: the default index) and the keys' text in UTF-8."""

    index: str
    keys: _Binaries


class Read(_Run, tag="read", frozen=True):
    """Result for each key: its version and record (`answers.VERSION`, then the record), or nil."""


class Has(_Run, tag="has", frozen=True):
    """Result for each key: true or false."""


class ReadItem(_Run, tag="item", frozen=True):
    """Result for each key: its version, its time to live and its record (`answers.ITEM`, then the record), or nil."""


class Write(_Run, tag="write", frozen=True):
    """Store each record, in place of one that is there. Result: true; false where the condition is unmet.

    :param conditions: for each key `ALWAYS`, `ABSENT`, `PRESENT` or the version that it must have; nil: all `ALWAYS`.
    :param ttls: for each key the milliseconds for which it lives, 0 for ever, or `KEEP`; nil: all 0.
    """

    records: _Binaries
    conditions: _Conditions | None = None
    ttls: _TtlsOrKeep | None = None


class Pop(_Run, tag="pop", frozen=True):
    """Remove each key. Result: as `Read`, what it had; nil where there was none or the condition is unmet."""

    conditions: _Conditions | None = None


class Remove(_Run, tag="remove", frozen=True):
    """Remove each key. Result: the first `HEAD_BYTES` of the record it had, or nil as with `Pop`."""

    conditions: _Conditions | None = None


class Touch(_Run, tag="touch", frozen=True):
    """Give each key that exists a new time to live. Result: true; false where there is none or the condition is unmet.

    :param ttls: for each key milliseconds from now, 0 for ever.
    :param conditions: as of `Write`.
    """

    ttls: _Ttls
    conditions: _Conditions | None = None


class Increment(_Run, tag="increment", frozen=True):
    """Add to each key's int. Result: the record of the new value.

    :param amounts: records of ints: what is added.
    :param initials: records of ints: the value that a missing key starts from.
    :param ttls: for each key the milliseconds for which it lives if this makes it, 0 for ever; nil: all 0. A key that
        exists keeps the time to live that it has.
    """

    amounts: _Binaries
    initials: _Binaries
    ttls: _Ttls | None = None


Run: TypeAlias = Read | Has | ReadItem | Write | Pop | Remove | Touch | Increment

#: Verb → run of each verb that only reads. These runs have no columns beside the keys.
READING_RUNS: Final[dict[str, type[Read | Has | ReadItem]]] = {"read": Read, "has": Has, "item": ReadItem}

_READING: Final = tuple(READING_RUNS.values())
_GIVING: Final = (Read, ReadItem, Pop)
_COPYING: Final = (Touch, Increment)


def verb_of(run: Run) -> str:
    """The verb of a run, as it stands on the wire: ``read``, ``item``, …"""
    verb = run.__struct_config__.tag
    assert isinstance(verb, str)
    return verb


def changes(run: Run) -> bool:
    """Whether a run may change anything."""
    return not isinstance(run, _READING)


def gives(run: Run) -> bool:
    """Whether the results of a run may be whole records."""
    return isinstance(run, _GIVING)


def copies(run: Run) -> bool:
    """Whether a run writes records that it finds, or made of these: it may write far more than it brings."""
    return isinstance(run, _COPYING)


def count_of(runs: Sequence[Run]) -> int:
    """How many operations a batch has."""
    return len(runs[0].keys) if len(runs) == 1 else sum([len(run.keys) for run in runs])


def columns(run: Run) -> list[list[Any] | None]:
    """What a run gives for each key, besides index and keys, in the order of its fields."""
    return [getattr(run, name) for name in run.__struct_fields__[2:]]


def weight(run: Run) -> int:
    """How many bytes the keys and records of a run have."""
    total = total_size(run.keys)
    if isinstance(run, Write):
        total += total_size(run.records)
    elif isinstance(run, Increment):
        total += total_size(run.amounts) + total_size(run.initials)
    return total


def part(run: Run, positions: Sequence[int]) -> Run:
    """The operations of a run at some positions."""
    pick = picker(positions)
    found = {name: getattr(run, name) for name in run.__struct_fields__[1:]}
    return msgspec.structs.replace(run, **{name: column and pick(column) for name, column in found.items()})
