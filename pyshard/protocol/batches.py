"""The unit of work: a batch of operations, and its answers, as they cross the wire in MessagePack. Pure.

A batch is a list of *runs*; a run is one verb on one index over many keys, as columns, so that decoding and
applying it costs one call in C for many operations. A batch takes effect in its order. Each class below is one
MessagePack array: the verb, then the fields in the order they stand here (docs/protocol.md, "Batches").
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from types import NoneType
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import msgspec

from pyshard.errors import BadRequest, PyshardError, from_code, plain
from pyshard.settings import settings

_T = TypeVar("_T")

#: Milliseconds of the longest time to live; the shortest is 0, for ever.
LONGEST_TTL = 100 * 366 * 86_400_000

Ttl: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_TTL)]

# A list is refused by its length before any of it is decoded.
_AT_MOST = msgspec.Meta(max_length=settings.MAX_BATCH)
_Binaries: TypeAlias = Annotated[list[bytes], _AT_MOST]
_Conditions: TypeAlias = Annotated[list[int], _AT_MOST]
_Ttls: TypeAlias = Annotated[list[Ttl], _AT_MOST]

_MOST_FIELDS = 16  # of a run, in a large batch; of today's verbs none has more than 6


class _Run(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Shared by all runs: the index's name (empty: the default index) and the keys' text in UTF-8."""

    index: str
    keys: _Binaries


class Read(_Run, tag="read", frozen=True):
    """Result for each key: its version and record (`VERSION`, then the record), or nil."""


class Has(_Run, tag="has", frozen=True):
    """Result for each key: true or false."""


class Item(_Run, tag="item", frozen=True):
    """Result for each key: its version, its time to live and its record (`ITEM`, then the record), or nil."""


class Write(_Run, tag="write", frozen=True):
    """Store each record, in place of one that is there. Result: true; false where the condition is unmet.

    :param conditions: for each key `ALWAYS`, `ABSENT` or the version that it must have; nil: all `ALWAYS`.
    :param ttls: for each key the milliseconds for which it lives, 0 for ever; nil: all 0.
    """

    records: _Binaries
    conditions: _Conditions | None = None
    ttls: _Ttls | None = None


class Pop(_Run, tag="pop", frozen=True):
    """Remove each key. Result: as `Read`, what it had; nil where there was none or the condition is unmet."""

    conditions: _Conditions | None = None


class Remove(_Run, tag="remove", frozen=True):
    """Remove each key. Result: the first `HEAD_BYTES` of the record it had, or nil as with `Pop`."""

    conditions: _Conditions | None = None


class Touch(_Run, tag="touch", frozen=True):
    """Give each key that exists a new time to live, in milliseconds from now, 0 for ever. Result: whether it exists."""

    ttls: _Ttls


class Increment(_Run, tag="increment", frozen=True):
    """Add to each key's int. Result: the record of the new value.

    :param amounts: records of ints: what is added.
    :param initials: records of ints: what a key that doesn't exist counts for.
    """

    amounts: _Binaries
    initials: _Binaries


_READING = (Read, Has, Item)  # the runs that change nothing; they have no columns beside the keys

Run: TypeAlias = Read | Has | Item | Write | Pop | Remove | Touch | Increment
Result: TypeAlias = bytes | bool | None

#: What stands before a record in the results of `Read` and `Pop`: its version (unsigned, 8 bytes, big-endian).
VERSION = struct.Struct(">Q")

#: What stands before a record in the results of `Item`: version, expiry (milliseconds since 1970) and milliseconds
#: until then; the latter two are 0 for a record that doesn't expire.
ITEM = struct.Struct(">QQQ")

# The results of each verb: their type, and the least bytes that they have.
_RESULTS: dict[type[Run], tuple[type, int]] = {
    Read: (bytes, VERSION.size),
    Has: (bool, 0),
    Item: (bytes, ITEM.size),
    Write: (bool, 0),
    Pop: (bytes, VERSION.size),
    Remove: (bytes, 0),
    Touch: (bool, 0),
    Increment: (bytes, 0),
}

# Verbs whose result may be nil without an error.
_MAY_FIND_NOTHING = (Read, Item, Pop, Remove)

#: Conditions on a write: none; that the key doesn't exist. Any other number is the version that the key must have.
ALWAYS, ABSENT = -1, 0

#: How many bytes of a removed record `remove` answers with.
HEAD_BYTES = 5


def changes(run: Run) -> bool:
    """Whether a run may change anything; what isn't known as harmless may."""
    return not isinstance(run, _READING)


def columns(run: Run) -> list[list[Any] | None]:
    """What a run gives for each key, besides index and keys, in the order of its fields."""
    return [getattr(run, name) for name in run.__struct_fields__[2:]]


def weight(run: Run) -> int:
    """How many bytes the keys and records of a run have."""
    total = len(b"".join(run.keys))  # of things so short it takes less than the sum of their lengths
    if isinstance(run, Write):
        total += sum(map(len, run.records))
    elif isinstance(run, Increment):
        total += sum(map(len, run.amounts)) + sum(map(len, run.initials))
    return total


def part(run: Run, positions: Sequence[int]) -> Run:
    """The operations of a run at some positions."""
    pick = picker(positions)
    found = {name: getattr(run, name) for name in run.__struct_fields__[1:]}
    return msgspec.structs.replace(run, **{name: column and pick(column) for name, column in found.items()})


def picker(positions: Sequence[int]) -> Callable[[Sequence[_T]], list[_T]]:
    """What gives a column's elements at some positions; its work is done in C."""
    if len(positions) < 2:
        return lambda column: [column[position] for position in positions]
    getter = itemgetter(*positions)
    return lambda column: list(getter(column))


class Answer(msgspec.Struct, array_like=True):
    """The outcome of one run.

    :param results: one for each key, in the order of the keys; nil where `errors` has an entry.
    :param errors: position → [error code, message] of each operation that was refused (and changed nothing).
    """

    results: list[Result]
    errors: dict[int, tuple[str, str]] = {}

    def refuse(self, position: int, error: PyshardError) -> None:
        """Put down that the operation at `position` was refused."""
        self.errors[position] = (error.code, str(error))

    @classmethod
    def refusing(cls, run: Run, error: PyshardError) -> Answer:
        """The outcome of a run that was refused as a whole."""
        refusal = (error.code, str(error))
        return cls([None] * len(run.keys), dict.fromkeys(range(len(run.keys)), refusal))

    def refusals(self) -> dict[int, PyshardError]:
        """Position → error of each operation that was refused."""
        return {position: from_code(code, message) for position, (code, message) in self.errors.items()}

    def outcomes(self) -> list[Result | PyshardError]:
        """Results and errors in one list, in the order of the keys."""
        outcomes: list[Result | PyshardError] = list(self.results)
        for position, error in self.refusals().items():
            outcomes[position] = error
        return outcomes


class _Plain(msgspec.Struct, Generic[_T], array_like=True, frozen=True):
    """An answer whose results are of one type, as the decoder finds out."""

    results: list[_T]
    errors: dict[int, tuple[str, str]] = {}


def _plain_type(verb: type[Run]) -> Any:
    """The type of the results of a verb for msgspec, where there is no error."""
    kind, shortest = _RESULTS[verb]
    found = Annotated[bytes, msgspec.Meta(min_length=shortest)] if kind is bytes else kind
    return found | None if verb in _MAY_FIND_NOTHING else found


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One record of a snapshot.

    :param index: the id of its index; 0 is the default index.
    :param key: the key's text in UTF-8.
    :param expires: milliseconds since 1970 from which it is gone; 0: never.
    :param record: the record.
    """

    index: int
    key: bytes
    expires: int
    record: bytes


_encode = msgspec.msgpack.Encoder().encode
_runs = msgspec.msgpack.Decoder(Annotated[list[Run], _AT_MOST])
_outline = msgspec.msgpack.Decoder(
    Annotated[list[Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_MOST_FIELDS)]], _AT_MOST]
)
_answers = msgspec.msgpack.Decoder(list[Answer])
_plain = {
    verb: msgspec.msgpack.Decoder(list[_Plain[_plain_type(verb)]])  # type: ignore[misc]  # a type made at run time
    for verb in _RESULTS
}
_keys = msgspec.msgpack.Decoder(list[bytes])
_rows = msgspec.msgpack.Decoder(list[Row])

#: As MessagePack: runs, answers, a page's keys, a snapshot's page.
encode_runs: Callable[[list[Run]], bytes] = _encode
encode_answers: Callable[[list[Answer]], bytes] = _encode
encode_keys: Callable[[list[bytes]], bytes] = _encode
encode_rows: Callable[[list[Row]], bytes] = _encode


def decode_runs(data: bytes) -> list[Run]:
    """Runs from MessagePack.

    :raises BadRequest: when they aren't; it says what was found where.
    """
    try:
        if len(data) > settings.BOX_BYTES:
            check_size(sum(_length(run[2]) for run in _outline.decode(data) if len(run) > 2))
        runs: list[Run] = _runs.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the batch can't be read: {plain(str(error))}") from None
    for run in runs:
        if isinstance(run, _READING):
            continue
        for column in columns(run):
            if column is not None and len(column) != len(run.keys):
                raise BadRequest(f"the batch has a run of {len(run.keys)} keys with a column of {len(column)}")
        if isinstance(run, (Write, Increment)):
            _check_new(run, len(data))
    return runs


def check_size(operations: int) -> None:
    """Refuse a batch of too many operations.

    :raises BadRequest: it has.
    """
    if operations > settings.MAX_BATCH:
        raise BadRequest(f"the batch has {operations:,} operations; a batch has at most {settings.MAX_BATCH:,}")


def _length(array: msgspec.Raw) -> int:
    """How many elements a MessagePack array has, by its head alone; 0: it is none.

    What is decoded takes up to 30 times the memory of its bytes; so a large batch of short keys is found out before.
    """
    head = bytes(memoryview(array)[:5])
    if head[0] == 0xDC:
        return int.from_bytes(head[1:3], "big")
    if head[0] == 0xDD:
        return int.from_bytes(head[1:], "big")
    return head[0] & 0x0F if head[0] & 0xF0 == 0x90 else 0


def _check_new(run: Write | Increment, size: int) -> None:
    """Refuse what other clients could not read: a key that is no text or too long, a record that is too large.

    :param size: bytes that the run has at the most.
    """
    longest, largest = settings.MAX_KEY_BYTES, settings.MAX_DOCUMENT_BYTES + HEAD_BYTES
    texts = b"".join(run.keys)  # all of them together tell of most runs that there is nothing to be found
    if len(texts) > longest and max(map(len, run.keys)) > longest:
        raise BadRequest(f"the batch has a key of more than {longest:,} bytes")
    if size > largest:
        records = run.records if isinstance(run, Write) else [*run.amounts, *run.initials]
        if max(map(len, records), default=0) > largest:
            raise BadRequest(f"the batch has a record of more than {largest:,} bytes")
    try:
        if not texts.isascii():
            deque(map(bytes.decode, run.keys), maxlen=0)
    except UnicodeDecodeError as error:
        raise BadRequest(f"the batch has a key that is not UTF-8: {error}") from None


def decode_answers(data: bytes, runs: list[Run]) -> list[Answer]:
    """Answers from MessagePack, one for each of `runs`.

    :raises BadRequest: when they aren't, or don't fit the runs.
    """
    if len(runs) == 1 and (plain_answer := _plain_answer(data, runs[0])) is not None:
        return [plain_answer]
    try:
        answers: list[Answer] = _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the answers can't be read: {plain(str(error))}") from None
    sizes = [len(answer.results) for answer in answers]
    if sizes != [len(run.keys) for run in runs]:
        shown = f"{sizes[:20]}{' …' if len(sizes) > 20 else ''}"
        raise BadRequest(f"the answers' sizes are {shown}, not those of the runs that were sent")
    for run, answer in zip(runs, answers, strict=True):
        if answer.errors and not 0 <= min(answer.errors) <= max(answer.errors) < len(answer.results):
            raise BadRequest("the answers name a position that doesn't exist")
        _check_results(run, answer)
    return answers


def _plain_answer(data: bytes, run: Run) -> Answer | None:
    """The answer to a single run that has a result for each key and no error, as is mostly so; None for any other."""
    try:
        answers = _plain[type(run)].decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(answers) != 1 or answers[0].errors or len(answers[0].results) != len(run.keys):
        return None
    return Answer(answers[0].results, {})


def _check_results(run: Run, answer: Answer) -> None:
    """Refuse results that the verb doesn't have: taken for others they would be wrong answers."""
    kind, shortest = _RESULTS[type(run)]
    results = answer.results
    kinds = set(map(type, results))
    if not kinds <= {kind, NoneType}:
        found = ", ".join(sorted(one.__name__ for one in kinds - {kind, NoneType}))
        raise BadRequest(f"the answers have results of other types to {_verb(run)}: {found}")
    if NoneType in kinds and not isinstance(run, _MAY_FIND_NOTHING):
        refused = sum(results[position] is None for position in answer.errors)
        if results.count(None) != refused:
            raise BadRequest(f"the answers have neither result nor error to {_verb(run)}")
    if shortest and kind in kinds:
        found_records = [one for one in results if isinstance(one, bytes)] if NoneType in kinds else results
        if min(map(len, found_records)) < shortest:  # type: ignore[arg-type]  # bytes all of them
            raise BadRequest(f"the answers have a result of less than {shortest} bytes to {_verb(run)}")


def _verb(run: Run) -> str:
    return type(run).__name__.lower()


def decode_keys(data: bytes) -> list[bytes]:
    """A page's keys from MessagePack.

    :raises BadRequest: when they aren't.
    """
    try:
        keys: list[bytes] = _keys.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the keys can't be read: {plain(str(error))}") from None
    return keys


def decode_rows(data: bytes) -> list[Row]:
    """A snapshot's page from MessagePack.

    :raises BadRequest: when it is none.
    """
    try:
        rows: list[Row] = _rows.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the snapshot's page can't be read: {plain(str(error))}") from None
    return rows
