"""Updates of a durable store that change what its shard is told: the indexes, and a text that it remembers."""

from __future__ import annotations

from collections.abc import Mapping

from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate
from pyshard.storage.durable.merged_view import MergedView


def setting_indexes(indexes: Mapping[str, int], next_index: int, text: bytes | None) -> LoggedUpdate:
    """Have exactly these named indexes; see `IStore.set_indexes`."""

    def work(_: MergedView, counters: Counters, changes: GroupChanges) -> None:
        if counters.indexes != indexes or counters.next_index < next_index:
            counters.set_indexes(indexes, next_index)
            changes.indexes, changes.next_index = counters.indexes, counters.next_index
        if text is not None:
            changes.remember(text)

    return LoggedUpdate(work)


def remembering(text: bytes) -> LoggedUpdate:
    """Save a text; see `IStore.remember`."""

    def work(_: MergedView, __: Counters, changes: GroupChanges) -> None:
        changes.remember(text)

    return LoggedUpdate(work)
