"""A handle on one index: the verbs of `AioClient`, with the index filled in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pyshard.client import Item, Pairs, Progress, Record
from pyshard.client_core.everyday_verbs import MISSING, Location, Missing
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key

_D = TypeVar("_D")
_T = TypeVar("_T")

if TYPE_CHECKING:
    from pyshard.aio.client import AioClient


class AioIndex:
    """One index of a cluster: the verbs of `AioClient`, with the index filled in."""

    def __init__(self, client: AioClient, name: str) -> None:
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
    ) -> asyncio.Future[int]:
        """See `AioClient.write`."""
        return self._client.write(
            key, doc, self.name, if_absent=if_absent, if_version=if_version, ttl=ttl, deadline=deadline
        )

    def read(self, key: Key, *, deadline: float | None = None) -> asyncio.Future[Record | None]:
        """See `AioClient.read`."""
        return self._client.read(key, self.name, deadline=deadline)

    def item(self, key: Key, *, deadline: float | None = None) -> asyncio.Future[Item | None]:
        """See `AioClient.item`."""
        return self._client.item(key, self.name, deadline=deadline)

    def pop(
        self, key: Key, *, if_version: int | None = None, deadline: float | None = None
    ) -> asyncio.Future[Record | None]:
        """See `AioClient.pop`."""
        return self._client.pop(key, self.name, if_version=if_version, deadline=deadline)

    def remove(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> asyncio.Future[int]:
        """See `AioClient.remove`."""
        return self._client.remove(key, self.name, if_version=if_version, deadline=deadline)

    def touch(
        self, key: Key, ttl: float | None, *, if_version: int | None = None, deadline: float | None = None
    ) -> asyncio.Future[bool]:
        """See `AioClient.touch`."""
        return self._client.touch(key, ttl, self.name, if_version=if_version, deadline=deadline)

    def increment(
        self, key: Key, by: int = 1, initial: int = 0, *, ttl: float | None = None, deadline: float | None = None
    ) -> asyncio.Future[int]:
        """See `AioClient.increment`."""
        return self._client.increment(key, by, initial, self.name, ttl=ttl, deadline=deadline)

    def has(self, key: Key, *, deadline: float | None = None) -> asyncio.Future[bool]:
        """See `AioClient.has`."""
        return self._client.has(key, self.name, deadline=deadline)

    def write_many(
        self,
        pairs: Pairs,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[int]]:
        """See `AioClient.write_many`."""
        return self._client.write_many(pairs, self.name, ttl=ttl, deadline=deadline, progress=progress)

    def read_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[Record | None]]:
        """See `AioClient.read_many`."""
        return self._client.read_many(keys, self.name, deadline=deadline, progress=progress)

    def pop_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[Record | None]]:
        """See `AioClient.pop_many`."""
        return self._client.pop_many(keys, self.name, deadline=deadline, progress=progress)

    def remove_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[int]]:
        """See `AioClient.remove_many`."""
        return self._client.remove_many(keys, self.name, deadline=deadline, progress=progress)

    def has_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[bool]]:
        """See `AioClient.has_many`."""
        return self._client.has_many(keys, self.name, deadline=deadline, progress=progress)

    def keys(self, *, deadline: float | None = None) -> AsyncIterator[str]:
        """See `AioClient.keys`."""
        return self._client.keys(self.name, deadline=deadline)

    @overload
    def get(
        self, key: Key, default: None = None, *, type: None = None, deadline: float | None = None
    ) -> asyncio.Future[Document | None]: ...

    @overload
    def get(
        self, key: Key, default: _D, *, type: None = None, deadline: float | None = None
    ) -> asyncio.Future[Document | _D]: ...

    @overload
    def get(
        self, key: Key, default: None = None, *, type: type[_T], deadline: float | None = None
    ) -> asyncio.Future[_T | None]: ...

    @overload
    def get(
        self, key: Key, default: _D, *, type: type[_T], deadline: float | None = None
    ) -> asyncio.Future[_T | _D]: ...

    def get(
        self, key: Key, default: Any = None, *, type: type[Any] | None = None, deadline: float | None = None
    ) -> asyncio.Future[Any]:
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
    ) -> asyncio.Future[list[Document | None]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _D,
        *,
        type: None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[Document | _D]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        type: type[_T],
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[_T | None]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _D,
        *,
        type: type[_T],
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[_T | _D]]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[Any]]:
        """What `get` gives for each key, in their order. See `pyshard.Client.get_many`."""
        return self._client.get_many(keys, default, self.name, type=type, deadline=deadline, progress=progress)

    def items(self, *, deadline: float | None = None) -> AsyncIterator[tuple[str, Document]]:
        """All keys of an index with their documents, in slot order, page by page. See `pyshard.Client.items`."""
        return self._client.items(self.name, deadline=deadline)

    def add(
        self, key: Key, doc: Storable, *, ttl: float | None = None, deadline: float | None = None
    ) -> asyncio.Future[bool]:
        """Store a document where there is none; whether it was stored. See `pyshard.Client.add`."""
        return self._client.add(key, doc, self.name, ttl=ttl, deadline=deadline)

    def add_many(
        self, pairs: Pairs, *, ttl: float | None = None, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[bool]]:
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
    ) -> asyncio.Future[bool]:
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
    ) -> asyncio.Future[Any]:
        """Have a function make a key's new document out of the old one; the new one. See `pyshard.Client.update`."""
        return self._client.update(key, function, self.name, default=default, ttl=ttl, deadline=deadline)

    def count(self, *, deadline: float | None = None) -> asyncio.Future[int]:
        """How many documents an index has. See `pyshard.Client.count`."""
        return self._client.count(self.name, deadline=deadline)

    def clear(self, *, deadline: float | None = None) -> asyncio.Future[int]:
        """Remove all documents that an index has; how many were removed. See `pyshard.Client.clear`."""
        return self._client.clear(self.name, deadline=deadline)

    def locate(self, key: Key) -> Location:
        """Where a key is, by the client's map. See `pyshard.Client.locate`."""
        return self._client.locate(key, self.name)

    def create(self, *, deadline: float | None = None) -> asyncio.Future[None]:
        """See `AioClient.create_index`."""
        return self._client.create_index(self.name, deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> asyncio.Future[None]:
        """See `AioClient.drop_index`."""
        return self._client.drop_index(self.name, deadline=deadline)
