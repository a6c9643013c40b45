"""Replay: a group's changes are put over the records that there are, and counted.

A start does so with each group that the log has and LMDB may not have, and a member of a group of replicas with each
that is committed. A group says what has become of each record, not how. So a record that is as the group says already
is replayed without harm.

Many records go in columns, where all are put and none is long or hidden. The plain twin goes record by record
(tests/storage/durable/test_replay.py compares them).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from pyshard.model.slot_ranges import without
from pyshard.protocol.log_groups import LogGroup
from pyshard.protocol.store_ranges import NOBODY, Origin
from pyshard.settings import settings
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.given_up_counts import CountsAhead
from pyshard.storage.durable.group_changes import GroupChanges, LoggedGroup, decoded
from pyshard.storage.durable.hidden_records import set_ranges
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.durable.lmdb_flush_transaction import count_records
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.store_index import cost, growth

_MANY = 10  # records: fewer take less time one by one


def not_ahead(group: LogGroup, counters: Counters) -> LoggedGroup:
    """What a group says, but for its indexes if LMDB has newer ones: else it would drop those made since."""
    logged = decoded(group.payload)
    return logged if group.sequence > counters.indexes_since else structs.replace(logged, indexes=None, next_index=0)


def replay_logged(
    view: MergedView, counters: Counters, changes: GroupChanges, group: LogGroup, ahead: CountsAhead | None = None
) -> None:
    """Do what a group of the log did; for the other parameters see `replay`."""
    replay(view, counters, changes, not_ahead(group, counters), ahead)
    counters.ballot = group.ballot
    if changes.indexes is not None:
        counters.indexes_since = group.sequence


def set_origin(counters: Counters, changes: GroupChanges, origin: Origin) -> None:
    """Have absorbed another store's groups up to a number, or with `NOBODY` follow nobody any more."""
    counters.origin = None if origin == NOBODY else origin
    changes.origin = origin


def replay(
    view: MergedView,
    counters: Counters,
    changes: GroupChanges,
    group: LoggedGroup,
    ahead: CountsAhead | None = None,
) -> None:
    """Do what a group did.

    :param view: the records before it.
    :param changes: gets what it changes, and is the newest layer of the view.
    :param ahead: what was counted of ranges that the group may give up; None: nothing.
    """
    if group.version > counters.version:
        counters.version = group.version
        changes.raises_version = True
    if group.indexes is not None:
        counters.set_indexes(group.indexes, group.next_index)
        changes.indexes, changes.next_index = group.indexes, counters.next_index
    if group.text is not None:
        changes.remember(group.text)
    if group.ranges is not None:
        given_up = counters.hidden.ranges.given_up(group.ranges.owned)
        known = None
        if ahead is not None and given_up and not without(given_up, group.ranges.left):
            known = ahead.given_up(view, counters, changes.records, given_up)
        set_ranges(view, counters, changes, group.ranges, known)
    if group.origin is not None:
        set_origin(counters, changes, group.origin)
    if len(group.records) < _MANY or not put_in_columns(view, counters, changes, group.records):
        replay_plainly(view, counters, changes, group)


def put_in_columns(view: MergedView, counters: Counters, changes: GroupChanges, records: Mapping[bytes, bytes]) -> bool:
    """Do what `replay_plainly` does, by calls in C.

    :param records: database key → value.
    :return: False: some of them need to be looked at one by one, and nothing was done.
    """
    db_keys, values = list(records), list(records.values())
    indexes = {db_key[: lmdb_encoding.INDEX_BYTES] for db_key in db_keys}
    if counters.hidden.ranges.hidden or not all(values) or any(map(lmdb_encoding.LONG_FLAG, db_keys)):
        return False
    if any(int.from_bytes(index, "big") not in counters.documents for index in indexes):
        return False
    before = list(view.get_many(db_keys))
    sizes = lmdb_encoding.sizes_of_values(before)
    expiring = lmdb_encoding.expiring(values)
    expired = lmdb_encoding.expiring([value for value in before if value]) if view.may_expire() else 0
    size = sum(map(len, values))
    counters.used += size - sum(sizes) + (expiring - expired) * settings.EXPIRY_OVERHEAD
    if 0 in sizes:
        new = [db_key for db_key, was in zip(db_keys, sizes, strict=True) if not was]
        counters.used += lmdb_encoding.bytes_of_many(new, 0)
        count_records(counters, new, 1)
    changes.put_many(db_keys, values, size, max(map(len, values), default=0))
    if expiring:
        for db_key, expires in zip(db_keys, map(lmdb_encoding.expiry_of, values), strict=True):
            if expires:
                changes.note_expiry(db_key, expires)
    return True


def replay_plainly(view: MergedView, counters: Counters, changes: GroupChanges, group: LoggedGroup) -> None:
    """Do what a group did with records, one by one; for the parameters see `replay`."""
    for db_key, value in group.changed():
        number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        if number not in counters.documents:
            continue
        before = view.get(db_key)
        stored = memoryview(value) if value else before
        if stored is None:
            continue  # it isn't there, as it should be
        key = lmdb_encoding.whole_key(memoryview(db_key), stored)
        old = None if before is None else lmdb_encoding.unpack(key, before)
        new = lmdb_encoding.unpack(key, memoryview(value)) if value else None
        index = DurableIndex(view, number, counters, changes)
        documents, used = counters.documents[number], counters.used
        if new is not None:
            index.put(key, slot, new, old, growth(key, new, old))
        elif old is not None:
            index.delete(key, slot, old, cost(key, old))
        counters.hidden.note(number, slot, counters.documents[number] - documents, counters.used - used)
