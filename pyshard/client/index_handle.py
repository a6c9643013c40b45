"""A handle on one index: the verbs of `Client`, with the index filled in.

Rule: a verb has the signature of `Client`'s, without the index; tests/test_exports.py compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from twisted.internet.defer import Deferred

from pyshard.client.item_pages import ItemPages
from pyshard.client.key_pages import KeyPages
from pyshard.client_core.bulk_input import Pairs
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import MISSING, Location, Missing
from pyshard.client_core.result_decoding import Item, Record
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key

_D = TypeVar("_D")
_T = TypeVar("_T")

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

    def touch(
        self, key: Key, ttl: float | None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Deferred[bool]:
        """See `Client.touch`."""
        return self._client.touch(key, ttl, self.name, if_version=if_version, deadline=deadline)

    def increment(
        self, key: Key, by: int = 1, initial: int = 0, *, ttl: float | None = None, deadline: float | None = None
    ) -> Deferred[int]:
        """See `Client.increment`."""
        return self._client.increment(key, by, initial, self.name, ttl=ttl, deadline=deadline)

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

    @overload
    def get(
        self, key: Key, default: None = None, *, type: None = None, deadline: float | None = None
    ) -> Deferred[Document | None]: ...

    @overload
    def get(
        self, key: Key, default: _D, *, type: None = None, deadline: float | None = None
    ) -> Deferred[Document | _D]: ...

    @overload
    def get(
        self, key: Key, default: None = None, *, type: type[_T], deadline: float | None = None
    ) -> Deferred[_T | None]: ...

    @overload
    def get(self, key: Key, default: _D, *, type: type[_T], deadline: float | None = None) -> Deferred[_T | _D]: ...

    def get(
        self, key: Key, default: Any = None, *, type: type[Any] | None = None, deadline: float | None = None
    ) -> Deferred[Any]:
        """The document of a key, or `default`. See `pyshard.Client.get`."""
        return self._client.get(key, default, self.name, type=type, deadline=deadline)

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        type: None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Document | None]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _D,
        *,
        type: None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Document | _D]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        type: type[_T],
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[_T | None]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _D,
        *,
        type: type[_T],
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[_T | _D]]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Any]]:
        """What `get` gives for each key, in their order. See `pyshard.Client.get_many`."""
        return self._client.get_many(keys, default, self.name, type=type, deadline=deadline, progress=progress)

    def items(self, *, deadline: float | None = None) -> ItemPages:
        """All keys of an index with their documents, in slot order, page by page. See `pyshard.Client.items`."""
        return self._client.items(self.name, deadline=deadline)

    def add(
        self, key: Key, doc: Storable, *, ttl: float | None = None, deadline: float | None = None
    ) -> Deferred[bool]:
        """Store a document where there is none; whether it was stored. See `pyshard.Client.add`."""
        return self._client.add(key, doc, self.name, ttl=ttl, deadline=deadline)

    def add_many(
        self, pairs: Pairs, *, ttl: float | None = None, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[bool]]:
        """Store each document whose key doesn't exist; whether each was stored. See `pyshard.Client.add_many`."""
        return self._client.add_many(pairs, self.name, ttl=ttl, deadline=deadline, progress=progress)

    def replace(
        self,
        key: Key,
        doc: Storable,
        *,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Deferred[bool]:
        """Store a document in place of one that is there; whether it was stored. See `pyshard.Client.replace`."""
        return self._client.replace(key, doc, self.name, if_version=if_version, ttl=ttl, deadline=deadline)

    def update(
        self,
        key: Key,
        function: Callable[[Any], Storable],
        *,
        default: object = MISSING,
        ttl: float | Missing | None = MISSING,
        deadline: float | None = None,
    ) -> Deferred[Any]:
        """Have a function make a key's new document out of the old one; the new one. See `pyshard.Client.update`."""
        return self._client.update(key, function, self.name, default=default, ttl=ttl, deadline=deadline)

    def count(self, *, deadline: float | None = None) -> Deferred[int]:
        """How many documents an index has. See `pyshard.Client.count`."""
        return self._client.count(self.name, deadline=deadline)

    def clear(self, *, deadline: float | None = None) -> Deferred[int]:
        """Remove all documents that an index has; how many were removed. See `pyshard.Client.clear`."""
        return self._client.clear(self.name, deadline=deadline)

    def locate(self, key: Key) -> Location:
        """Where a key is, by the client's map. See `pyshard.Client.locate`."""
        return self._client.locate(key, self.name)

    def create(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.create_index`."""
        return self._client.create_index(self.name, deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.drop_index`."""
        return self._client.drop_index(self.name, deadline=deadline)
