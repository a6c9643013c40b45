"""A handle on one index: the verbs of `Pyshard`, with the index filled in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pyshard.client_core.bulk_input import Pairs
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.result_decoding import Item, Record
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key

if TYPE_CHECKING:
    from pyshard.blocking.pyshard import Pyshard


class BlockingIndex:
    """One index of a cluster: the verbs of `Pyshard`, with the index filled in."""

    def __init__(self, app: Pyshard, name: str) -> None:
        self._app = app
        self.name = name

    def write(
        self,
        key: Key,
        doc: Storable,
        *,
        if_absent: bool = False,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> int:
        """See `Pyshard.write`."""
        return self._app.write(
            key, doc, self.name, if_absent=if_absent, if_version=if_version, ttl=ttl, deadline=deadline
        )

    def read(self, key: Key, *, deadline: float | None = None) -> Record | None:
        """See `Pyshard.read`."""
        return self._app.read(key, self.name, deadline=deadline)

    def item(self, key: Key, *, deadline: float | None = None) -> Item | None:
        """See `Pyshard.item`."""
        return self._app.item(key, self.name, deadline=deadline)

    def pop(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> Record | None:
        """See `Pyshard.pop`."""
        return self._app.pop(key, self.name, if_version=if_version, deadline=deadline)

    def remove(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> int:
        """See `Pyshard.remove`."""
        return self._app.remove(key, self.name, if_version=if_version, deadline=deadline)

    def touch(self, key: Key, ttl: float | None, *, deadline: float | None = None) -> bool:
        """See `Pyshard.touch`."""
        return self._app.touch(key, ttl, self.name, deadline=deadline)

    def increment(self, key: Key, by: int = 1, initial: int = 0, *, deadline: float | None = None) -> int:
        """See `Pyshard.increment`."""
        return self._app.increment(key, by, initial, self.name, deadline=deadline)

    def has(self, key: Key, *, deadline: float | None = None) -> bool:
        """See `Pyshard.has`."""
        return self._app.has(key, self.name, deadline=deadline)

    def write_many(
        self,
        pairs: Pairs,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """See `Pyshard.write_many`."""
        return self._app.write_many(pairs, self.name, ttl=ttl, deadline=deadline, progress=progress)

    def read_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[Record | None]:
        """See `Pyshard.read_many`."""
        return self._app.read_many(keys, self.name, deadline=deadline, progress=progress)

    def pop_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[Record | None]:
        """See `Pyshard.pop_many`."""
        return self._app.pop_many(keys, self.name, deadline=deadline, progress=progress)

    def remove_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[int]:
        """See `Pyshard.remove_many`."""
        return self._app.remove_many(keys, self.name, deadline=deadline, progress=progress)

    def has_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[bool]:
        """See `Pyshard.has_many`."""
        return self._app.has_many(keys, self.name, deadline=deadline, progress=progress)

    def keys(self, *, deadline: float | None = None) -> Iterator[str]:
        """See `Pyshard.keys`."""
        return self._app.keys(self.name, deadline=deadline)

    def create(self, *, deadline: float | None = None) -> None:
        """See `Pyshard.create_index`."""
        self._app.create_index(self.name, deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> None:
        """See `Pyshard.drop_index`."""
        self._app.drop_index(self.name, deadline=deadline)
