"""A handle on one index: the verbs of `Client`, with the index filled in.

Rule: a verb has the signature of `Client`'s, without the index; tests/test_exports.py compares them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pyshard.client.key_pages import KeyPages
from pyshard.client_core.bulk_input import Pairs
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.result_decoding import Item, Record
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key

if TYPE_CHECKING:
    from pyshard.client.client import Client


class Index:
    """One index of a cluster: the verbs of `Client`, with the index filled in."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
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
    ) -> Deferred[int]:
        """See `Client.write`."""
        return self._client.write(
            key, doc, self.name, if_absent=if_absent, if_version=if_version, ttl=ttl, deadline=deadline
        )

    def read(self, key: Key, *, deadline: float | None = None) -> Deferred[Record | None]:
        """See `Client.read`."""
        return self._client.read(key, self.name, deadline=deadline)

    def item(self, key: Key, *, deadline: float | None = None) -> Deferred[Item | None]:
        """See `Client.item`."""
        return self._client.item(key, self.name, deadline=deadline)

    def pop(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> Deferred[Record | None]:
        """See `Client.pop`."""
        return self._client.pop(key, self.name, if_version=if_version, deadline=deadline)

    def remove(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> Deferred[int]:
        """See `Client.remove`."""
        return self._client.remove(key, self.name, if_version=if_version, deadline=deadline)

    def touch(self, key: Key, ttl: float | None, *, deadline: float | None = None) -> Deferred[bool]:
        """See `Client.touch`."""
        return self._client.touch(key, ttl, self.name, deadline=deadline)

    def increment(self, key: Key, by: int = 1, initial: int = 0, *, deadline: float | None = None) -> Deferred[int]:
        """See `Client.increment`."""
        return self._client.increment(key, by, initial, self.name, deadline=deadline)

    def has(self, key: Key, *, deadline: float | None = None) -> Deferred[bool]:
        """See `Client.has`."""
        return self._client.has(key, self.name, deadline=deadline)

    def write_many(
        self,
        pairs: Pairs,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[int]]:
        """See `Client.write_many`."""
        return self._client.write_many(pairs, self.name, ttl=ttl, deadline=deadline, progress=progress)

    def read_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[Record | None]]:
        """See `Client.read_many`."""
        return self._client.read_many(keys, self.name, deadline=deadline, progress=progress)

    def pop_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[Record | None]]:
        """See `Client.pop_many`."""
        return self._client.pop_many(keys, self.name, deadline=deadline, progress=progress)

    def remove_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[int]]:
        """See `Client.remove_many`."""
        return self._client.remove_many(keys, self.name, deadline=deadline, progress=progress)

    def has_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[bool]]:
        """See `Client.has_many`."""
        return self._client.has_many(keys, self.name, deadline=deadline, progress=progress)

    def keys(self, *, deadline: float | None = None) -> KeyPages:
        """See `Client.keys`."""
        return self._client.keys(self.name, deadline=deadline)

    def create(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.create_index`."""
        return self._client.create_index(self.name, deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.drop_index`."""
        return self._client.drop_index(self.name, deadline=deadline)
