"""The verbs of the Deferred client on single records, and in bulk: they check their arguments and hand the work on.

Rules:

- A verb returns at once. A bad argument of a verb on one key fails its Deferred before anything is sent.
- In a bulk verb a bad key or document fails alone, and the others are sent.
- `keys` gives an asynchronous iterator; a bad argument of it raises at once.
- Single operations go to `Router.submit`, bulk verbs to `pyshard.client.bulk`, and `keys` to
  `pyshard.client.key_pages`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from pyshard.client.bulk import Bulk
from pyshard.client.cluster_verbs import ClusterVerbs
from pyshard.client.deferred_operation import DeferredOperation
from pyshard.client.key_pages import KeyPages
from pyshard.client.router import Router
from pyshard.client_core.argument_checks import check_progress, milliseconds
from pyshard.client_core.bulk_input import BulkSlice, Pairs, keys_of, on_keys, pairs_of, writes
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.operation import NO_OPTIONS, VerbOptions, increment_of, options_for
from pyshard.client_core.operation_maker import OperationMaker
from pyshard.client_core.read_room import ReadRoom
from pyshard.client_core.result_decoding import Decode, Item, Record, outcomes_of
from pyshard.client_core.walked_records import as_answered, room_for_records
from pyshard.errors import PyshardError
from pyshard.model import document_encoding
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key
from pyshard.protocol.batch_operations import READING_RUNS, Has, Pop, Read, Remove

_T = TypeVar("_T")


class RecordVerbs(ClusterVerbs):
    """The verbs of `Client` on single records, and in bulk."""

    def __init__(self, clock: IReactorTime, router: Router, deadline: float, default_index: str = "") -> None:
        super().__init__(clock, router, deadline, default_index)
        self._operations = OperationMaker(DeferredOperation, clock.seconds, deadline, default_index)

    def write(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        if_absent: bool = False,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Deferred[int]:
        """Store a document, in place of one that is there.

        :param if_absent: write nothing when the key exists.
        :param if_version: write nothing when the key's version (`item`) isn't this one.
        :param ttl: seconds after which the document is gone, to the millisecond; None: never. It replaces a time to
            live that the key had.
        :return: a Deferred of the document's size (`pyshard.model.document_size.measure`); 0 when nothing was written
            because `if_absent` or `if_version` was not met. An empty document has size 0, too: `add` and `replace` tell
            whether something was stored.
        :raises ShardFull: the document doesn't fit into its shard's limit any more.
        :raises InvalidArgument: a `ttl` that is no positive number, an `if_version` that is no version, an `if_absent`
            that is no bool, or both conditions at once.
        """
        try:
            record, size = document_encoding.encode(doc)
            options = options_for(if_absent, if_version, ttl)
        except PyshardError:
            return fail()
        return self._operate("write", key, index, deadline, record, size, options)

    def read(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[Record | None]:
        """Look a document up.

        :return: a Deferred of ``{'hash_': …, 'record': …}``, or of None when there is no such key.
        """
        return self._operate("read", key, index, deadline)

    def item(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[Item | None]:
        """Look a document up, with all that is known of it.

        :return: a Deferred of an `Item`, or of None when there is no such key.
        """
        return self._operate("item", key, index, deadline)

    def pop(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Deferred[Record | None]:
        """Remove a document and give it.

        :param if_version: remove nothing when the key's version isn't this one.
        :return: as `read`; None also when `if_version` was not met.
        """
        return self._conditional("pop", key, index, if_version, deadline)

    def remove(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Deferred[int]:
        """Remove a document.

        :param if_version: remove nothing when the key's version isn't this one.
        :return: a Deferred of the size that `write` gave for it; 0 when there was none, or `if_version` was not met.
        """
        return self._conditional("remove", key, index, if_version, deadline)

    def touch(
        self,
        key: Key,
        ttl: float | None,
        index: str | None = None,
        *,
        if_version: int | None = None,
        deadline: float | None = None,
    ) -> Deferred[bool]:
        """Give a document a new time to live; its version stays.

        :param ttl: seconds from now; None: for ever.
        :param if_version: change nothing when the key's version isn't this one.
        :return: a Deferred of whether the key exists, in that version if one is given.
        :raises InvalidArgument: (in the Deferred) `ttl` is no positive number, or `if_version` no version.
        """
        try:
            options = options_for(False, if_version, ttl)
        except PyshardError:
            return fail()
        return self._operate("touch", key, index, deadline, options=options)

    def increment(
        self,
        key: Key,
        by: int = 1,
        initial: int = 0,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Deferred[int]:
        """Add to a document that is an int, on its shard, in one go; a time to live that it has stays.

        :param by: what is added; may be negative.
        :param initial: what a key that doesn't exist counts for.
        :param ttl: seconds that a key lives which this creates; None: for ever. One that exists keeps its own.
        :return: a Deferred of the new value.
        :raises NotANumber: (in the Deferred) the document is no int.
        :raises InvalidArgument: `by` or `initial` is no int, or `ttl` no positive number.
        :raises DocumentTooLarge: the document, `by`, `initial` or the sum has more than 64 KiB as stored.
        """
        try:
            amount, options = increment_of(by, initial, ttl)
        except PyshardError:
            return fail()
        return self._operate("increment", key, index, deadline, amount, options=options)

    def has(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[bool]:
        """Whether a key exists.

        :return: a Deferred of True or False.
        """
        return self._operate("has", key, index, deadline)

    def write_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[int]]:
        """Store many documents; see `write`.

        This and the other bulk verbs take any iterable of any length, from which they read only as fast as the shards
        take it, in the thread of the reactor. Keys given twice are dealt with in their order. Operations on one key
        that are issued while a bulk verb is under way may come before or after it.

        :param pairs: pairs of a key and a document; or a mapping.
        :param deadline: seconds that each operation may take from the moment it is issued. A shard that lets it pass
            is sent nothing more of this bulk.
        :param progress: called now and then with the number of keys that are done so far. What it raises ends the
            bulk, as does what the iterable raises: nothing more is issued, and the Deferred fails with it.
        :return: a Deferred of the sizes, in the order of the pairs.
        :raises PartialFailure: (in the Deferred, as all errors) some keys failed, or all; its ``outcomes`` have what
            became of each. The keys that aren't named as failed are done.
        """
        try:
            size = self._router.slice_size(True)
            slices = writes(pairs_of(pairs), self._index_name(index), milliseconds(ttl), size)
        except PyshardError:
            return fail()
        return cast("Deferred[list[int]]", self._bulk(slices, deadline, progress))

    def read_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Record | None]]:
        """Look many documents up; see `read`, and `write_many` for what holds for all bulk verbs.

        :return: a Deferred of what `read` gives for each key, in the order of the keys.
        """
        return cast("Deferred[list[Record | None]]", self._on_keys(Read, keys, index, deadline, progress))

    def pop_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Record | None]]:
        """Remove many documents and give them; see `pop` and `write_many`.

        :return: a Deferred of what `pop` gives for each key, in the order of the keys.
        """
        return cast("Deferred[list[Record | None]]", self._on_keys(Pop, keys, index, deadline, progress))

    def remove_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[int]]:
        """Remove many documents; see `remove` and `write_many`.

        :return: a Deferred of what `remove` gives for each key, in the order of the keys.
        """
        return cast("Deferred[list[int]]", self._on_keys(Remove, keys, index, deadline, progress))

    def has_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[bool]]:
        """Whether each of many keys exists; see `has` and `write_many`.

        :return: a Deferred of True or False for each key, in the order of the keys.
        """
        return cast("Deferred[list[bool]]", self._on_keys(Has, keys, index, deadline, progress))

    def keys(self, index: str | None = None, *, deadline: float | None = None) -> KeyPages:
        """All keys of an index, over all shards, in slot order.

        :param deadline: seconds that each page may take.
        :return: an asynchronous iterator of the keys' texts (str), which fetches page after page.
        :raises InvalidIndexName: at once, as is `InvalidArgument`.
        """
        return KeyPages(self._clock, self._router, self._index_name(index), self._seconds(deadline))

    def close(self) -> Deferred[None]:
        """End all connections. Operations whose answer is still out fail.

        :return: a Deferred that fires when all connections are closed.
        """
        return succeed(None) if self._router.closed else self._router.close()

    # ------------------------------------------------------------------ inside

    def _bulk(
        self,
        slices: Iterator[BulkSlice],
        deadline: float | None,
        progress: Progress | None,
        at_primary: bool = True,
    ) -> Deferred[list[object]]:
        try:
            seconds = self._seconds(deadline)
            check_progress(progress)
            self._router.check_open()
        except PyshardError:
            return fail()
        submit_to = self._router.submit_to if at_primary else self._router.submit_read_to
        return Bulk(self._clock, self._router, slices, seconds, progress, submit_to=submit_to).start()

    def _on_keys(
        self,
        verb: type[Read | Has | Pop | Remove],
        keys: Iterable[Key],
        index: str | None,
        deadline: float | None,
        progress: Progress | None,
        decode: Decode = outcomes_of,
        at_primary: bool = False,
        room: ReadRoom | None = None,
    ) -> Deferred[list[object]]:
        """Do a verb on many keys.

        :param at_primary: whether it is done by primaries also if it only reads.
        :param room: what the answers may take; None: there is no bound.
        """
        try:
            name = self._index_name(index)
            fitting = self._router.read_sizes.fitting(name) if verb is Read else None
            size = self._router.slice_size(verb in (Pop, Remove), fitting)
            slices = on_keys(verb, keys_of(keys), name, size, decode, room)
        except PyshardError:
            return fail()
        return self._bulk(slices, deadline, progress, at_primary or verb in (Pop, Remove))

    def _read_results(self, keys: list[str], index: str | None, deadline: float | None) -> Deferred[list[object]]:
        """What primaries answer to a read of a walk: what `WalkedRecords.took` takes."""
        return self._on_keys(Read, keys, index, deadline, None, as_answered, True, room_for_records())

    def _operate(
        self,
        verb: str,
        key: Key,
        index: str | None,
        deadline: float | None,
        record: bytes = b"",
        size: int = 0,
        options: VerbOptions = NO_OPTIONS,
        at_primary: bool = False,
    ) -> Deferred[Any]:  # of what the verb gives
        """Do a verb on one key.

        :param at_primary: as of `_on_keys`.
        """
        try:
            operation = self._operations.operation(verb, key, index, deadline, record, size, options)
        except PyshardError:
            return fail()
        (self._router.submit if at_primary or verb not in READING_RUNS else self._router.submit_read)(operation)
        return operation.deferred

    def _conditional(
        self, verb: str, key: Key, index: str | None, if_version: int | None, deadline: float | None
    ) -> Deferred[Any]:
        try:
            options = options_for(False, if_version, None)
        except PyshardError:
            return fail()
        return self._operate(verb, key, index, deadline, options=options)
