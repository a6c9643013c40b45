"""What a caller gives a bulk verb, cut into slices of some keys each.

Rules:

- A slice is read from the caller's iterable when it is wanted, not before.
- Keys of many bytes become several slices, so that those of each fit into a box, beside the largest document.
- Keys and documents that can't be sent are put down with their error; the others go on.
- Documents of a built-in collection (list, dict and such) are encoded later, when their shard's turn comes.
- Documents that anything else yields are copied or encoded at once, since the caller may change one and yield it again.
- The quick way looks at all keys, pairs or documents at once. If that fails, the plain way finds out which ones are at
  fault.

Pure: it does no I/O, and the same input gives the same result.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeAlias, TypeVar, cast

import attrs
import msgspec

from pyshard.client_core.argument_checks import check_collection
from pyshard.client_core.pair_columns import checked_pair, columns_of_pairs
from pyshard.client_core.read_room import ReadRoom
from pyshard.client_core.result_decoding import Decode, outcomes_of
from pyshard.errors import InvalidArgument, PyshardError
from pyshard.model.bulk_document_encoding import encode_many
from pyshard.model.document_encoding import SupportsItems, encode
from pyshard.model.key_slots import Key, key_bytes, keys_bytes
from pyshard.model.shard_map import MapShard
from pyshard.protocol.batch_operations import ALWAYS, Has, Pop, Read, Remove, Run, Write
from pyshard.protocol.columns import picker, total_size
from pyshard.settings import settings

_T = TypeVar("_T")

#: A pair of a write: a key and its document. What the document is, is left to the check when it is encoded, since mypy
#: takes ``{"a": 1, "b": [2]}`` for a ``dict[str, object]``, and ``[("a", 1), ("b", [2])]`` for objects, too.
Pair: TypeAlias = tuple[Key, object]

#: Any number of pairs, or a mapping.
Pairs: TypeAlias = Iterable[Pair] | SupportsItems[Key, object]

#: Collections that exist as a whole, and give what they hold. One of a subclass may make what it gives as it goes.
_WHOLE = frozenset({list, tuple, set, frozenset, deque, type({}.items()), type(OrderedDict().items())})

_KEY_BYTES = settings.BOX_BYTES // 2  # of one slice: a box may have as many again of records, and a large document

#: Types of values that nobody can change.
_UNCHANGING = frozenset({str, int, float, bool, bytes, type(None)})


@attrs.frozen
class BulkSlice:
    """Some keys of a bulk verb.

    :param keys: the keys as the caller gave them.
    :param run: the verb on those keys that are fine; a write may lack its records.
    :param places: the place in `keys` of each of the run's keys.
    :param refused: place → error of the other keys.
    :param sizes: of a write with its records: what it answers for each of the run's keys.
    :param documents: of a write without its records: the document for each of the run's keys.
    :param decode: makes outcomes of the results of another verb than a write.
    :param room: what the answers to all slices may take together; None: there is no bound.
    """

    keys: Sequence[object]
    run: Run
    places: Sequence[int]
    refused: dict[int, PyshardError]
    sizes: Sequence[int] = ()
    documents: Sequence[object] | None = None
    decode: Decode = outcomes_of
    room: ReadRoom | None = None


@attrs.frozen
class RefusedDocument:
    """In place of a document that was found to be none before it came here.

    :param error: what is wrong with it; the outcome of its key.
    """

    error: PyshardError


class EncodedDocument(msgspec.Struct, frozen=True, gc=False):
    """In place of a document that was encoded before it came here.

    :param record: what is stored.
    :param size: what the write answers.
    """

    record: bytes
    size: int


@attrs.frozen
class Encoded:
    """Documents of a slice as they are sent.

    :param run: the write of those that are fine.
    :param numbers: which of the keys of the slice's run they are for.
    :param sizes: what it answers for each of them: the document's size; True where there is a condition.
    :param refused: number → error of the others.
    """

    run: Write
    numbers: Sequence[int]
    sizes: Sequence[int]
    refused: dict[int, PyshardError]

    def __len__(self) -> int:
        """How many documents were looked at."""
        return len(self.numbers) + len(self.refused)


def slice_size(shards: Sequence[MapShard], changes: bool, fitting: int | None = None) -> int:
    """How many keys each slice of a bulk verb is to have.

    A slice is divided among the shards that own something. To take a box costs a shard as much as to read 300 keys or
    to write 250, so a box of few of them costs more than what it carries. More would wait for each other.

    :param shards: those of the map.
    :param changes: whether the verb changes something.
    :param fitting: of a verb that reads documents: how many an answer has room for; None: it isn't known.
    """
    if changes and any(shard.durable for shard in shards):
        return settings.BULK_STEP_DURABLE
    owners = sum(bool(shard.ranges) for shard in shards)
    most = settings.BULK_STEP * min(owners, settings.BULK_STEPS)
    return most if changes or fitting is None else min(most, fitting * owners)


def pairs_of(pairs: Pairs) -> Iterable[Pair]:
    """The pairs that a caller gave, or gave as a mapping.

    What comes out of an iterator comes with documents that can't change any more: copies, or an `EncodedDocument` or a
    `RefusedDocument` in their place.

    :raises InvalidArgument: as `given_pairs`.
    """
    given = given_pairs(pairs)
    return given if type(given) in _WHOLE else _as_yielded(given)


def given_pairs(pairs: Pairs) -> Iterable[Pair]:
    """The pairs that a caller gave, or gave as a mapping.

    :raises InvalidArgument: it is no collection of pairs, or one pair alone.
    """
    if isinstance(pairs, Mapping):
        return pairs.items()
    check_collection("pairs", pairs, "pairs of a key and a document, or a dict")
    if isinstance(pairs, tuple | list) and len(pairs) == 2 and isinstance(pairs[0], str | int | float):
        raise InvalidArgument("pairs: found one pair, expected a collection of them: [(key, document)]")
    return cast("Iterable[Pair]", pairs)  # it can be iterated over, as was checked


def _as_yielded(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs, with documents that stay as they are now, whatever the caller does with those that were yielded.

    Most are flat dicts. A copy of one is enough, and can be encoded together with others.
    """
    unchanging = _UNCHANGING.issuperset
    for given in pairs:
        pair = given if type(given) is tuple and len(given) == 2 else checked_pair(given)
        document = pair[1]
        if type(document) is dict and unchanging(map(type, document.values())):
            yield pair[0], document.copy()
        elif type(document) in _UNCHANGING or isinstance(document, RefusedDocument):
            yield pair
        else:
            yield pair[0], _encoded_now(document)


def _encoded_now(document: object) -> EncodedDocument | RefusedDocument:
    try:
        return EncodedDocument(*encode(document))
    except PyshardError as error:
        return RefusedDocument(error)


def keys_of(keys: Iterable[Key]) -> Iterable[Key]:
    """The keys that a caller gave.

    :raises InvalidArgument: it is no collection of keys, such as one str, which is a key itself.
    """
    check_collection("keys", keys, "keys")
    return keys


def writes(pairs: Iterable[Pair], index: str, ttl: int, size: int, condition: int = ALWAYS) -> Iterator[BulkSlice]:
    """Slices that write documents.

    :param ttl: milliseconds for which each of them lives; 0: for ever.
    :param size: keys of a slice, at the most.
    :param condition: on each write; with one, each answers whether it was stored, not its size, which may be 0.
    :raises InvalidArgument: when it comes to something that is no pair.
    """
    source = iter(pairs)
    while some := list(islice(source, size)):
        all_keys, all_docs = columns_of_pairs(some)
        for part, texts, refused in _fitting(all_keys):
            keys, docs = _part_of(all_keys, part), _part_of(all_docs, part)
            places = _others(len(keys), refused)
            run = Write(
                index,
                texts,
                [],
                None if condition == ALWAYS else [condition] * len(texts),
                [ttl] * len(texts) if ttl else None,
            )
            yield BulkSlice(keys, run, places, refused, (), picker(places)(docs) if refused else docs)


def encoded(bulk_slice: BulkSlice, numbers: Sequence[int]) -> Encoded:
    """As many of a slice's documents as a box takes.

    :param numbers: of the keys of the slice's run: which documents are to be encoded, from the first one on.
    """
    write, given = bulk_slice.run, bulk_slice.documents
    assert isinstance(write, Write)
    assert given is not None
    refused: dict[int, PyshardError] = {}
    chosen = picker(numbers)(given)
    fine: Sequence[int]
    try:
        if chosen and isinstance(chosen[0], EncodedDocument):  # so are the others, or most of them
            fine, records, sizes = _fine_documents(given, numbers, refused)
        else:
            records, sizes = encode_many(chosen, settings.BOX_BYTES)
            fine = numbers[: len(records)]
    except PyshardError:  # one can't be stored; or an `EncodedDocument` or `RefusedDocument` stands in its place
        fine, records, sizes = _fine_documents(given, numbers, refused)
    pick = picker(fine)
    conditions = write.conditions and pick(write.conditions)
    run = Write(write.index, pick(write.keys), records, conditions, write.ttls and pick(write.ttls))
    return Encoded(run, fine, sizes if conditions is None else [True] * len(fine), refused)


def _fine_documents(
    given: Sequence[object], numbers: Sequence[int], refused: dict[int, PyshardError]
) -> tuple[list[int], list[bytes], list[int]]:
    """The numbers, records and sizes of those documents that can be written; the numbers of others go to `refused`."""
    fine: list[int] = []
    records: list[bytes] = []
    sizes: list[int] = []
    room = settings.BOX_BYTES
    for number in numbers:
        try:
            record, size = _encode(given[number])
        except PyshardError as error:
            refused[number] = error
        else:
            fine.append(number)
            records.append(record)
            sizes.append(size)
            room -= len(record)
            if room <= 0:
                break
    return fine, records, sizes


def _encode(document: object) -> tuple[bytes, int]:
    if isinstance(document, EncodedDocument):
        return document.record, document.size
    if isinstance(document, RefusedDocument):
        raise document.error
    return encode(document)


def on_keys(
    verb: type[Read | Has | Pop | Remove],
    keys: Iterable[Key],
    index: str,
    size: int,
    decode: Decode = outcomes_of,
    room: ReadRoom | None = None,
) -> Iterator[BulkSlice]:
    """Slices of a verb that takes keys alone.

    :param size: keys of a slice, at the most.
    :param decode: makes outcomes of results.
    :param room: see `BulkSlice`.
    """
    source = iter(keys)
    while some := list(islice(source, size)):
        for part, texts, refused in _fitting(some):
            given = _part_of(some, part)
            yield BulkSlice(given, verb(index, texts), _others(len(given), refused), refused, decode=decode, room=room)


def _part_of(column: list[_T], part: slice) -> list[_T]:
    """A part of a column; mostly it is all of it, and isn't copied."""
    return column if part.stop - part.start == len(column) else column[part]


def _fitting(keys: list[Key]) -> Iterator[tuple[slice, list[bytes], dict[int, PyshardError]]]:
    """Keys in parts of `_KEY_BYTES` at the most, or of one key: where each part is, and what `_texts` gives for it."""
    waiting = [slice(0, len(keys))]
    while waiting:
        part = waiting.pop()
        texts, refused = _texts(_part_of(keys, part))
        if len(texts) < 2 or total_size(texts) <= _KEY_BYTES:
            yield part, texts, refused
        else:
            half = (part.start + part.stop) // 2
            waiting += [slice(half, part.stop), slice(part.start, half)]


def _texts(keys: Sequence[Key]) -> tuple[list[bytes], dict[int, PyshardError]]:
    """The texts of those keys that are keys, and place → error of the others."""
    try:
        return keys_bytes(keys), {}
    except PyshardError:
        pass  # below it turns out which ones they are
    texts: list[bytes] = []
    refused: dict[int, PyshardError] = {}
    for place, key in enumerate(keys):
        try:
            texts.append(key_bytes(key))
        except PyshardError as error:
            refused[place] = error
    return texts, refused


def _others(count: int, refused: dict[int, PyshardError]) -> Sequence[int]:
    return [place for place in range(count) if place not in refused] if refused else range(count)
