"""A handle on one index: the verbs of `AioClient`, with the index filled in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from pyshard.client import Item, Pairs, Progress, Record
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key

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

    def touch(self, key: Key, ttl: float | None, *, deadline: float | None = None) -> asyncio.Future[bool]:
        """See `AioClient.touch`."""
        return self._client.touch(key, ttl, self.name, deadline=deadline)

    def increment(
        self, key: Key, by: int = 1, initial: int = 0, *, deadline: float | None = None
    ) -> asyncio.Future[int]:
        """See `AioClient.increment`."""
        return self._client.increment(key, by, initial, self.name, deadline=deadline)

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

    def create(self, *, deadline: float | None = None) -> asyncio.Future[None]:
        """See `AioClient.create_index`."""
        return self._client.create_index(self.name, deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> asyncio.Future[None]:
        """See `AioClient.drop_index`."""
        return self._client.drop_index(self.name, deadline=deadline)
