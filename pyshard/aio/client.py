"""`AioClient`, the client for programs on asyncio: the verbs of the Deferred client as futures of the event loop.

Rules:

- The verbs, their arguments and their errors are those of `pyshard.Client`; tests/test_exports.py compares them.
- A verb does its work whether its future is awaited or not, in the order in which the verbs are called.
- All work is done on the loop, by the Deferred client: no thread is started, and no reactor is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any, TypeVar, overload

from pyshard.aio.index_handle import AioIndex
from pyshard.aio.page_items import PageItems
from pyshard.aio.record_futures import RecordFutures
from pyshard.aio.typed_index import AioTypedIndex
from pyshard.client_core.bulk_input import Pairs
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import MISSING, Location, Missing, document_giver, replace_options
from pyshard.client_core.not_pickled import NotPickled
from pyshard.client_core.operation import VerbOptions, options_for
from pyshard.errors import PyshardError
from pyshard.model import document_encoding
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key

_D = TypeVar("_D")
_T = TypeVar("_T")


class AioClient(RecordFutures, NotPickled):
    """A connection to a cluster; `pyshard.aio.connect` makes it.

    Every verb returns a future of the event loop at once, to be awaited now or later, alone or by `asyncio.gather`. It
    fails with the errors of `pyshard.Client`. Called on another loop, in another thread or after a fork, a verb raises
    `WrongEventLoop`.

    A future that is cancelled waits for nothing any more. A change that was sent already may happen all the same, and
    what is called later on its key comes after it; see docs/asyncio.md. A client can't be pickled or copied; what
    `pyshard.aio.connect` gives can.
    """

    _belongs_to = "its event loop"
    _pickle_instead = "what connect(…) gives, or the address, such as 'pyshard://host:9192/index?deadline=5'"

    @overload
    def get(
        self,
        key: Key,
        default: None = None,
        index: str | None = None,
        *,
        type: None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[Document | None]: ...

    @overload
    def get(
        self, key: Key, default: _D, index: str | None = None, *, type: None = None, deadline: float | None = None
    ) -> asyncio.Future[Document | _D]: ...

    @overload
    def get(
        self, key: Key, default: None = None, index: str | None = None, *, type: type[_T], deadline: float | None = None
    ) -> asyncio.Future[_T | None]: ...

    @overload
    def get(
        self, key: Key, default: _D, index: str | None = None, *, type: type[_T], deadline: float | None = None
    ) -> asyncio.Future[_T | _D]: ...

    def get(
        self,
        key: Key,
        default: Any = None,
        index: str | None = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[Any]:
        """The document of a key, or `default`. See `pyshard.Client.get`."""
        try:
            convert = document_giver(default, type)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._operate("read", key, index, deadline, convert=partial(convert, key))

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        index: str | None = None,
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
        index: str | None = None,
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
        index: str | None = None,
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
        index: str | None = None,
        *,
        type: type[_T],
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[_T | _D]]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        index: str | None = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[Any]]:
        """What `get` gives for each key, in their order. See `pyshard.Client.get_many`."""
        return self._future(
            self._here().get_many(keys, default, index, type=type, deadline=deadline, progress=progress)
        )

    def items(self, index: str | None = None, *, deadline: float | None = None) -> AsyncIterator[tuple[str, Document]]:
        """All keys of an index with their documents, in slot order, page by page. See `pyshard.Client.items`."""
        pages = self._here().items(index, deadline=deadline)
        return PageItems(lambda: self._future(pages.next_page()))

    def add(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[bool]:
        """Store a document where there is none; whether it was stored. See `pyshard.Client.add`."""
        try:
            options = options_for(True, None, ttl)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._write_where(key, doc, index, options, deadline)

    def add_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[bool]]:
        """Store each document whose key doesn't exist; whether each was stored. See `pyshard.Client.add_many`."""
        return self._future(self._here().add_many(pairs, index, ttl=ttl, deadline=deadline, progress=progress))

    def replace(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[bool]:
        """Store a document in place of one that is there; whether it was stored. See `pyshard.Client.replace`."""
        try:
            options = replace_options(if_version, ttl)
        except PyshardError as error:
            return self._bound.failed(error)
        return self._write_where(key, doc, index, options, deadline)

    def update(
        self,
        key: Key,
        function: Callable[[Any], Storable],
        index: str | None = None,
        *,
        default: object = MISSING,
        ttl: float | Missing | None = MISSING,
        deadline: float | None = None,
    ) -> asyncio.Future[Any]:
        """Have a function make a key's new document out of the old one; the new one. See `pyshard.Client.update`."""
        return self._future(self._here().update(key, function, index, default=default, ttl=ttl, deadline=deadline))

    def count(self, index: str | None = None, *, deadline: float | None = None) -> asyncio.Future[int]:
        """How many documents an index has. See `pyshard.Client.count`."""
        return self._future(self._here().count(index, deadline=deadline))

    def clear(self, index: str | None = None, *, deadline: float | None = None) -> asyncio.Future[int]:
        """Remove all documents that an index has; how many were removed. See `pyshard.Client.clear`."""
        return self._future(self._here().clear(index, deadline=deadline))

    def locate(self, key: Key, index: str | None = None) -> Location:
        """Where a key is, by the client's map. See `pyshard.Client.locate`."""
        return self._here().locate(key, index)

    @overload
    def index(self, name: str) -> AioIndex: ...

    @overload
    def index(self, name: str, *, type: type[_T]) -> AioTypedIndex[_T]: ...

    def index(self, name: str, *, type: type[Any] | None = None) -> AioIndex | AioTypedIndex[Any]:
        """A handle on one index, with the same verbs. See `pyshard.Client.index`."""
        index = AioIndex(self, check_index_name(name))
        return index if type is None else AioTypedIndex(index, type, self._bound)

    def _write_where(
        self, key: Key, doc: Storable, index: str | None, options: VerbOptions, deadline: float | None
    ) -> asyncio.Future[bool]:
        """Store a document where a condition is met; whether it was stored."""
        try:
            record = document_encoding.encode(doc)[0]
        except PyshardError as error:
            return self._bound.failed(error)
        return self._operate("write", key, index, deadline, record, 1, options, bool)

    async def close(self) -> None:
        """End all connections, and wait until they are closed. Operations whose answer is still out fail."""
        await self._bound.close()
