"""The verbs of the asyncio client on single records, in bulk, and about the cluster: those of `Client`, as futures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from pyshard.aio.loop_bound import LoopBound
from pyshard.aio.page_items import PageItems
from pyshard.client_core.bulk_input import Pairs
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.operation import increment_of, options_for
from pyshard.client_core.result_decoding import Item, Record
from pyshard.errors import PyshardError
from pyshard.model import document_encoding
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key


class RecordFutures:
    """The verbs of `AioClient` on single records, in bulk, and about the cluster.

    :param bound: the Deferred client, bound to its loop.
    """

    def __init__(self, bound: LoopBound) -> None:
        self._bound = bound
        self._here = bound.here
        self._future = bound.future
        self._operate = bound.operate

    def write(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        if_absent: bool = False,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[int]:
        """Store a document, in place of one that is there; its size. See `pyshard.Client.write`."""
        try:
            record, size = document_encoding.encode(doc)
            options = options_for(if_absent, if_version, ttl)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._operate("write", key, index, deadline, record, size, options)

    def read(
        self, key: Key, index: str | None = None, *, deadline: float | None = None
    ) -> asyncio.Future[Record | None]:
        """Look a document up: ``{'hash_': …, 'record': …}`` or None. See `pyshard.Client.read`."""
        return self._operate("read", key, index, deadline)

    def item(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> asyncio.Future[Item | None]:
        """Look a document up, with its version, expiry and size. See `pyshard.Client.item`."""
        return self._operate("item", key, index, deadline)

    def pop(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> asyncio.Future[Record | None]:
        """Remove a document and give it, as `read` does. See `pyshard.Client.pop`."""
        try:
            options = options_for(False, if_version, None)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._operate("pop", key, index, deadline, options=options)

    def remove(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> asyncio.Future[int]:
        """Remove a document; the size that `write` gave for it, or 0. See `pyshard.Client.remove`."""
        try:
            options = options_for(False, if_version, None)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._operate("remove", key, index, deadline, options=options)

    def touch(
        self,
        key: Key,
        ttl: float | None,
        index: str | None = None,
        *,
        if_version: int | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[bool]:
        """Give a document a new time to live; whether the key exists. See `pyshard.Client.touch`."""
        try:
            options = options_for(False, if_version, ttl)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._operate("touch", key, index, deadline, options=options)

    def increment(
        self,
        key: Key,
        by: int = 1,
        initial: int = 0,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[int]:
        """Add to a document that is an int; the new value. See `pyshard.Client.increment`."""
        try:
            amount, options = increment_of(by, initial, ttl)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._operate("increment", key, index, deadline, amount, options=options)

    def has(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> asyncio.Future[bool]:
        """Whether a key exists. See `pyshard.Client.has`."""
        return self._operate("has", key, index, deadline)

    def write_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[int]]:
        """Store many documents; their sizes, in order. See `pyshard.Client.write_many`.

        The iterables and ``progress`` of all bulk verbs run in the loop's thread, between other work of the loop.
        """
        return self._future(self._here().write_many(pairs, index, ttl=ttl, deadline=deadline, progress=progress))

    def read_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[Record | None]]:
        """What `read` gives for each key, in their order. See `pyshard.Client.read_many`."""
        return self._future(self._here().read_many(keys, index, deadline=deadline, progress=progress))

    def pop_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[Record | None]]:
        """Remove many documents; what `pop` gives for each key, in their order. See `pyshard.Client.pop_many`."""
        return self._future(self._here().pop_many(keys, index, deadline=deadline, progress=progress))

    def remove_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[int]]:
        """Remove many documents; what `remove` gives for each key, in their order. See `pyshard.Client.remove_many`."""
        return self._future(self._here().remove_many(keys, index, deadline=deadline, progress=progress))

    def has_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[bool]]:
        """Whether each key exists, in their order. See `pyshard.Client.has_many`."""
        return self._future(self._here().has_many(keys, index, deadline=deadline, progress=progress))

    def keys(self, index: str | None = None, *, deadline: float | None = None) -> AsyncIterator[str]:
        """All keys of an index, in slot order, fetched page by page. See `pyshard.Client.keys`."""
        pages = self._here().keys(index, deadline=deadline)
        return PageItems(lambda: self._future(pages.next_page()))

    def create_index(self, name: str, *, deadline: float | None = None) -> asyncio.Future[None]:
        """Create an index. See `pyshard.Client.create_index`."""
        return self._future(self._here().create_index(name, deadline=deadline))

    def drop_index(self, name: str, *, deadline: float | None = None) -> asyncio.Future[None]:
        """Drop an index with all its documents. See `pyshard.Client.drop_index`."""
        return self._future(self._here().drop_index(name, deadline=deadline))

    def indexes(self, *, deadline: float | None = None) -> asyncio.Future[list[str]]:
        """The names of all indexes but the default one. See `pyshard.Client.indexes`."""
        return self._future(self._here().indexes(deadline=deadline))

    def stat(self, *, deadline: float | None = None) -> asyncio.Future[dict[str, object]]:
        """How the cluster fares. See `pyshard.Client.stat`."""
        return self._future(self._here().stat(deadline=deadline))

    def readiness(self, *, deadline: float | None = None) -> asyncio.Future[list[dict[str, str]]]:
        """How ready each shard is, as the bootstrap sees it. See `pyshard.Client.readiness`."""
        return self._future(self._here().readiness(deadline=deadline))
