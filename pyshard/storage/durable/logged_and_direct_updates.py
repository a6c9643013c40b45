"""Updates: what callers have the writer thread do, in two kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.merged_view import MergedView


@attrs.frozen
class LoggedUpdate:
    """An update of records, which goes through the log and the memtable: a batch.

    :param work: reads the view, counts in the counters, and puts changed records into the memtable, which is the
        newest layer of the view; returns the update's outcome.
    """

    work: Callable[[MergedView, Counters, Memtable], object]


@attrs.frozen
class DirectUpdate:
    """An update that is done in a transaction of LMDB: of indexes, of the saved text, of records out of sight.

    :param work: returns the update's outcome.
    """

    work: Callable[[WriteTransaction], object]


Update: TypeAlias = LoggedUpdate | DirectUpdate
