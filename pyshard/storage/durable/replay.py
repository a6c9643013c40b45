"""Replay: a group's changes are put over the records that there are, and counted.

A start does so with each group that the log has and LMDB may not have. A group says what has become of each record, not
how. So a record that is as the group says already is replayed without harm.
"""

from __future__ import annotations

from msgspec import structs

from pyshard.protocol.store_ranges import NOBODY, Origin
from pyshard.storage.batch_executor import cost, growth
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges, LoggedGroup, decoded
from pyshard.storage.durable.hidden_records import set_ranges
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.durable.log_format import Group
from pyshard.storage.durable.merged_view import MergedView


def not_ahead(group: Group, counters: Counters) -> LoggedGroup:
    """What a group says, but for its indexes if LMDB has newer ones: else it would drop those made since."""
    logged = decoded(group.payload)
    return logged if group.sequence > counters.indexes_since else structs.replace(logged, indexes=None, next_index=0)


def replay_logged(view: MergedView, counters: Counters, changes: GroupChanges, group: Group) -> None:
    """Do what a group of the log did; for the first parameters see `replay`."""
    replay(view, counters, changes, not_ahead(group, counters))
    counters.ballot = group.ballot
    if changes.indexes is not None:
        counters.indexes_since = group.sequence


def set_origin(counters: Counters, changes: GroupChanges, origin: Origin) -> None:
    """Have absorbed another store's groups up to a number, or with `NOBODY` follow nobody any more."""
    counters.origin = None if origin == NOBODY else origin
    changes.origin = origin


def replay(view: MergedView, counters: Counters, changes: GroupChanges, group: LoggedGroup) -> None:
    """Do what a group did.

    :param view: the records before it.
    :param changes: gets what it changes, and is the newest layer of the view.
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
        set_ranges(view, counters, changes, group.ranges)
    if group.origin is not None:
        set_origin(counters, changes, group.origin)
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
