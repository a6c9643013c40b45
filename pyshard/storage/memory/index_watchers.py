"""Who is told of the records of an index in memory that change: views of a moment, counts, and new dicts.

Rules:

- a watcher is told before a record changes. But of records that are written in columns a view of a moment is given
  what they were, after it, since whoever writes has it at hand;
- a view of a moment needs to know of the first change of a record alone, and of none that came since. Versions rise, so
  it is told of no record with a higher version than there was then. Who overwrites the same records again, or writes
  new ones, has no work with such views, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pyshard.protocol.columns import picker

#: `Watcher.newest` of who is told of each change: no version is higher.
EVERY_CHANGE = (1 << 64) - 1


class Watcher:
    """Who is told of changes; see `pyshard.storage.memory.index_records.MemoryIndex.watch`.

    :ivar newest: it isn't told of records with higher versions, but when they are removed.
    """

    newest = EVERY_CHANGE

    def keep(self, key: bytes, slot: int) -> None:
        """Is told of a record that is about to change."""
        raise NotImplementedError

    def keep_column(self, keys: Sequence[bytes], slots: Sequence[int]) -> None:
        """Is told of records that are about to be written, of which each key comes once."""
        for key, slot in zip(keys, slots, strict=True):
            self.keep(key, slot)

    def keep_replaced(self, keys: Sequence[bytes], slots: Sequence[int], values: Sequence[bytes]) -> None:
        """Is told of records that were just written.

        :param values: what the index had of each, version and record; some versions may be higher than `newest`.
        """


class IndexWatchers:
    """The watchers of an index.

    :ivar any: whether there are any.
    :ivar newest: of those who aren't told of each change, the highest version that one of them is told of.
    """

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self.any = False
        self.newest = 0

    def __len__(self) -> int:
        return len(self._watchers)

    def __iter__(self) -> Iterator[Watcher]:
        return iter(self._watchers)

    def add(self, watcher: Watcher) -> None:
        """Have one more."""
        self._watchers.append(watcher)
        self._look_at_them()

    def remove(self, watcher: Watcher) -> None:
        """Have one no more."""
        self._watchers.remove(watcher)
        self._look_at_them()

    def keep(self, key: bytes, slot: int, version: int) -> None:
        """Tell of a record that is about to change.

        :param version: the lower one of what it has and what it will have; 0: it is about to be removed.
        """
        for watcher in self._watchers:
            if version <= watcher.newest:
                watcher.keep(key, slot)

    def keep_column(self, keys: Sequence[bytes], slots: Sequence[int]) -> None:
        """See `Watcher`."""
        for watcher in self._watchers:
            watcher.keep_column(keys, slots)

    def keep_replaced(self, keys: Sequence[bytes], slots: Sequence[int], values: Mapping[int, bytes]) -> None:
        """Tell of records that were just written.

        :param values: position in both columns → what the index had, of those of whom anybody needs to know.
        """
        if len(values) < len(keys):
            pick = picker(list(values))
            keys, slots = pick(keys), pick(slots)
        for watcher in self._watchers:
            watcher.keep_replaced(keys, slots, list(values.values()))

    def _look_at_them(self) -> None:
        self.any = bool(self._watchers)
        versions = [watcher.newest for watcher in self._watchers]
        self.newest = max([version for version in versions if version < EVERY_CHANGE], default=0)
