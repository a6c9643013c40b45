"""The blocking verbs on single records, and in bulk: they check their arguments and hand the work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, cast

from pyshard.blocking.bulk_call import BulkCall
from pyshard.blocking.cluster_calls import ClusterCalls
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.client_core.argument_checks import check_progress, deadline_seconds, milliseconds
from pyshard.client_core.bulk_input import Pairs, keys_of, on_keys, pairs_of, writes
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import LEAST, DocumentUpdate, outrun
from pyshard.client_core.operation import NO_OPTIONS, VerbOptions, increment_of, options_for
from pyshard.client_core.read_room import ReadRoom
from pyshard.client_core.result_decoding import Decode, Item, Record, outcomes_of
from pyshard.client_core.walked_records import as_answered, results_in, room_for_records
from pyshard.errors import PartialFailure
from pyshard.model import document_encoding
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key, key_bytes, slot_of
from pyshard.protocol.batch_operations import READING_RUNS, Has, Pop, Read, Remove


class RecordCalls(ClusterCalls):
    """The verbs of `Pyshard` on single records, and in bulk."""

    #: Seconds that an operation may take, unless it is given another.
    _deadline: float

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
    ) -> int:
        """Store a document, in place of one that is there; its size. See `pyshard.Client.write`."""
        record, size = document_encoding.encode(doc)
        options = options_for(if_absent, if_version, ttl)
        found: int = self._operate("write", key, index, deadline, record, size, options)
        return found

    def read(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Record | None:
        """Look a document up: ``{'hash_': …, 'record': …}`` or None. See `pyshard.Client.read`."""
        found: Record | None = self._operate("read", key, index, deadline)
        return found

    def item(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Item | None:
        """Look a document up, with its version, expiry and size. See `pyshard.Client.item`."""
        found: Item | None = self._operate("item", key, index, deadline)
        return found

    def pop(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Record | None:
        """Remove a document and give it, as `read` does. See `pyshard.Client.pop`."""
        found: Record | None = self._operate("pop", key, index, deadline, options=options_for(False, if_version, None))
        return found

    def remove(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> int:
        """Remove a document; the size that `write` gave for it, or 0. See `pyshard.Client.remove`."""
        found: int = self._operate("remove", key, index, deadline, options=options_for(False, if_version, None))
        return found

    def touch(
        self,
        key: Key,
        ttl: float | None,
        index: str | None = None,
        *,
        if_version: int | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Give a document a new time to live; whether the key exists. See `pyshard.Client.touch`."""
        found: bool = self._operate("touch", key, index, deadline, options=options_for(False, if_version, ttl))
        return found

    def increment(
        self,
        key: Key,
        by: int = 1,
        initial: int = 0,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> int:
        """Add to a document that is an int; the new value. See `pyshard.Client.increment`."""
        amount, options = increment_of(by, initial, ttl)
        found: int = self._operate("increment", key, index, deadline, amount, options=options)
        return found

    def has(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> bool:
        """Whether a key exists. See `pyshard.Client.has`."""
        found: bool = self._operate("has", key, index, deadline)
        return found

    def write_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """Store many documents; their sizes, in order. See `pyshard.Client.write_many`.

        The iterables and ``progress`` of all bulk verbs run in the calling thread, while no call is in flight. So they
        may take their time and make calls of their own.
        """
        name, life = self._index_name(index), milliseconds(ttl)
        found = self._bulk(True, deadline, progress).all(
            pairs_of(pairs), lambda window, size: writes(window, name, life, size), itemgetter(0)
        )
        return cast("list[int]", found)

    def read_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Record | None]:
        """What `read` gives for each key, in their order. See `pyshard.Client.read_many`."""
        return cast("list[Record | None]", self._on_keys(Read, keys, index, deadline, progress))

    def pop_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Record | None]:
        """Remove many documents; what `pop` gives for each key, in their order. See `pyshard.Client.pop_many`."""
        return cast("list[Record | None]", self._on_keys(Pop, keys, index, deadline, progress))

    def remove_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """Remove many documents; what `remove` gives for each key, in their order. See `pyshard.Client.remove_many`."""
        return cast("list[int]", self._on_keys(Remove, keys, index, deadline, progress))

    def has_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[bool]:
        """Whether each key exists, in their order. See `pyshard.Client.has_many`."""
        return cast("list[bool]", self._on_keys(Has, keys, index, deadline, progress))

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
    ) -> list[object]:
        """Do a verb on many keys.

        :param at_primary: whether it is done by primaries also if it only reads.
        :param room: what the answers may take; None: there is no bound.
        """
        name, changes = self._index_name(index), verb in (Pop, Remove)
        bulk = self._bulk(changes, deadline, progress, name if verb is Read else None, at_primary or changes)
        return bulk.all(keys_of(keys), lambda window, size: on_keys(verb, window, name, size, decode, room))

    def _read_results(self, keys: list[str], index: str | None, deadline: float | None) -> list[object]:
        """What primaries answer to a read of a walk: what `WalkedRecords.took` takes."""
        try:
            return self._on_keys(Read, keys, index, deadline, None, as_answered, True, room_for_records())
        except PartialFailure as failure:
            return results_in(failure)

    def _bulk(
        self,
        changes: bool,
        deadline: float | None,
        progress: Progress | None,
        reads: str | None = None,
        at_primary: bool = True,
    ) -> BulkCall:
        check_progress(progress)
        seconds = self._seconds(deadline)
        return BulkCall(self._cluster(seconds), changes, seconds, progress, reads, at_primary)

    def _update(
        self, planned: Callable[[], DocumentUpdate], key: Key, index: str | None, deadline: float | None
    ) -> Any:  # the new document
        cluster, until = self._begun(self._seconds(deadline))
        plan, now = planned(), cluster.network.now
        while now() < until:
            write = plan.write_after(self._operate("item", key, index, None, until=until, at_primary=True))
            if write is None:
                return None
            end = max(until, now() + LEAST)
            if self._operate("write", key, index, None, write.record, True, write.options, end):
                return write.document
        raise outrun(key)

    def _write_where(
        self, key: Key, doc: Storable, index: str | None, options: VerbOptions, deadline: float | None
    ) -> bool:
        found: bool = self._operate("write", key, index, deadline, document_encoding.encode(doc)[0], True, options)
        return found

    def _operate(
        self,
        verb: str,
        key: Key,
        index: str | None,
        deadline: float | None,
        record: bytes = b"",
        size: int = 0,
        options: VerbOptions = NO_OPTIONS,
        until: float | None = None,
        at_primary: bool = False,
    ) -> Any:  # what the verb gives
        """Do a verb on one key.

        :param until: when it must have ended, by the cluster's clock; None: as `deadline` says.
        :param at_primary: as of `_on_keys`.
        """
        text = key_bytes(key)
        name = self._default_index if index is None else check_index_name(index)
        cluster, expires = self._begun(self._deadline if deadline is None else deadline_seconds(deadline))
        if until is not None:
            expires = until
        slot = slot_of(text, name.encode()) if name else slot_of(text)
        weight = len(text) + len(record) + len(options.initial)
        operation = GatheredOperation(verb, name, text, slot, expires, weight, record, size, options)
        operation.may_be_stale = cluster.replicas is not None and not at_primary and verb in READING_RUNS
        return cluster.operate(operation)

    def _seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline_seconds(deadline)
