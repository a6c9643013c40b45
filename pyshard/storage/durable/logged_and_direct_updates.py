"""Updates: what callers have the writer thread do, in three kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.merged_view import MergedView


@attrs.frozen
class LoggedUpdate:
    """An update that goes through the log and the memtable, as all do that change what a store has.

    :param work: reads the view, counts in the counters, and puts what it changes into the group's changes, which are
        the newest layer of the view; returns the update's outcome.
    :param background: how many times its time is counted as the store's own background work
        (`pyshard.storage.durable.background_updates`); 0: it is none. Such work is a group's first.
    :param replaceable: whether no sync is made for it, since nobody counts on what it changes yet.
    """

    work: Callable[[MergedView, Counters, GroupChanges], object]
    background: float = 0
    replaceable: bool = False


@attrs.frozen
class DirectUpdate:
    """An update that is done in a transaction of LMDB: it changes how data are kept, and nothing that anybody sees.

    :param work: returns the update's outcome.
    :param background: see `LoggedUpdate`.
    """

    work: Callable[[WriteTransaction], object]
    background: float = 0


@attrs.frozen
class ReplicaUpdate:
    """An update that a store does as one of several replicas. It is done by itself, after all before it.

    :param work: does it; returns the update's outcome.
    :param background: see `LoggedUpdate`.
    """

    work: Callable[[], object]
    background: float = 0


Update: TypeAlias = LoggedUpdate | DirectUpdate | ReplicaUpdate
