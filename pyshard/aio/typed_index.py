"""A handle on one index whose documents are of one type: the verbs of `AioIndex`, with documents of that type.

Rules are those of `pyshard.client.typed_index`. A verb's future fails with what the Deferred of that one's fails with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pyshard.aio.loop_bound import LoopBound
from pyshard.aio.page_items import ConvertedItems
from pyshard.client.typed_index import TypedIndex
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import MISSING, Location, Missing
from pyshard.client_core.operation import options_for
from pyshard.client_core.typed_documents import TypedItem, TypedPairs, TypedRecord, document_type
from pyshard.errors import PyshardError
from pyshard.model.key_slots import Key

if TYPE_CHECKING:
    from pyshard.aio.index_handle import AioIndex

_T = TypeVar("_T")
_Default = TypeVar("_Default")


class AioTypedIndex(Generic[_T]):
    """One index of a cluster, with documents of one type: the verbs of `AioIndex`.

    :param index: the handle without the type.
    :param type: the documents' type (`pyshard.client_core.typed_documents.DocumentType`).
    :param bound: the Deferred client, bound to its loop.
    :raises InvalidArgument: it can't be the type of documents.
    :ivar untyped: the handle without the type, for documents as they are stored.
    """

    def __init__(self, index: AioIndex, type: type[_T], bound: LoopBound) -> None:
        self.untyped = index
        self.name = index.name
        self._type = type
        self._documents = document_type(type)
        self._bound = bound
        self._future = bound.future

    def write(
        self,
        key: Key,
        doc: _T,
        *,
        if_absent: bool = False,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[int]:
        """See `AioClient.write`."""
        try:
            stored = self._documents.stored(key, doc)
        except PyshardError as error:
            return self._bound.failed(error)
        return self.untyped.write(key, stored, if_absent=if_absent, if_version=if_version, ttl=ttl, deadline=deadline)

    def read(self, key: Key, *, deadline: float | None = None) -> asyncio.Future[TypedRecord[_T] | None]:
        """See `AioClient.read`."""
        convert = partial(self._documents.record, key)
        return self._bound.operate("read", key, self.name, deadline, convert=convert)

    def item(self, key: Key, *, deadline: float | None = None) -> asyncio.Future[TypedItem[_T] | None]:
        """See `AioClient.item`."""
        convert = partial(self._documents.item, key)
        return self._bound.operate("item", key, self.name, deadline, convert=convert)

    def pop(
        self, key: Key, *, if_version: int | None = None, deadline: float | None = None
    ) -> asyncio.Future[TypedRecord[_T] | None]:
        """See `AioClient.pop`. A document that doesn't fit is removed all the same."""
        try:
            options = options_for(False, if_version, None)
        except PyshardError as error:
            return self._bound.failed(error)
        convert = partial(self._documents.popped, key)
        return self._bound.operate("pop", key, self.name, deadline, options=options, convert=convert)

    def remove(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> asyncio.Future[int]:
        """See `AioClient.remove`."""
        return self.untyped.remove(key, if_version=if_version, deadline=deadline)

    def touch(
        self, key: Key, ttl: float | None, *, if_version: int | None = None, deadline: float | None = None
    ) -> asyncio.Future[bool]:
        """See `AioClient.touch`."""
        return self.untyped.touch(key, ttl, if_version=if_version, deadline=deadline)

    @overload
    def get(self, key: Key, default: None = None, *, deadline: float | None = None) -> asyncio.Future[_T | None]: ...

    @overload
    def get(self, key: Key, default: _Default, *, deadline: float | None = None) -> asyncio.Future[_T | _Default]: ...

    def get(self, key: Key, default: Any = None, *, deadline: float | None = None) -> asyncio.Future[Any]:
        """See `AioClient.get`."""
        return self.untyped.get(key, default, type=self._type, deadline=deadline)

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[_T | None]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _Default,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[_T | _Default]]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[Any]]:
        """See `AioClient.get_many`. A document that doesn't fit fails for its key alone."""
        return self.untyped.get_many(keys, default, type=self._type, deadline=deadline, progress=progress)

    def add(
        self, key: Key, doc: _T, *, ttl: float | None = None, deadline: float | None = None
    ) -> asyncio.Future[bool]:
        """See `AioClient.add`."""
        try:
            stored = self._documents.stored(key, doc)
        except PyshardError as error:
            return self._bound.failed(error)
        return self.untyped.add(key, stored, ttl=ttl, deadline=deadline)

    def add_many(
        self,
        pairs: TypedPairs[_T],
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[bool]]:
        """See `AioClient.add_many`. A document that doesn't fit fails for its key alone."""
        stored = self._documents.pairs(pairs)
        return self.untyped.add_many(stored, ttl=ttl, deadline=deadline, progress=progress)

    def replace(
        self,
        key: Key,
        doc: _T,
        *,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> asyncio.Future[bool]:
        """See `AioClient.replace`."""
        try:
            stored = self._documents.stored(key, doc)
        except PyshardError as error:
            return self._bound.failed(error)
        return self.untyped.replace(key, stored, if_version=if_version, ttl=ttl, deadline=deadline)

    def update(
        self,
        key: Key,
        function: Callable[[_T], _T],
        *,
        default: _T | Missing = MISSING,
        ttl: float | Missing | None = MISSING,
        deadline: float | None = None,
    ) -> asyncio.Future[_T | None]:
        """See `AioClient.update`. Stored fields that the type doesn't have are gone from the new document."""
        return self._future(self._typed().update(key, function, default=default, ttl=ttl, deadline=deadline))

    def items(self, *, deadline: float | None = None) -> AsyncIterator[tuple[str, _T]]:
        """See `AioClient.items`. A document that doesn't fit is an error in its place; `anext` goes on behind it."""
        return ConvertedItems(self.untyped.items(deadline=deadline), self._documents.pair)

    def count(self, *, deadline: float | None = None) -> asyncio.Future[int]:
        """See `AioClient.count`."""
        return self.untyped.count(deadline=deadline)

    def clear(self, *, deadline: float | None = None) -> asyncio.Future[int]:
        """See `AioClient.clear`."""
        return self.untyped.clear(deadline=deadline)

    def locate(self, key: Key) -> Location:
        """See `AioClient.locate`."""
        return self.untyped.locate(key)

    def has(self, key: Key, *, deadline: float | None = None) -> asyncio.Future[bool]:
        """See `AioClient.has`."""
        return self.untyped.has(key, deadline=deadline)

    def write_many(
        self,
        pairs: TypedPairs[_T],
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> asyncio.Future[list[int]]:
        """See `AioClient.write_many`. A document that doesn't fit fails for its key alone."""
        stored = self._documents.pairs(pairs)
        return self.untyped.write_many(stored, ttl=ttl, deadline=deadline, progress=progress)

    def read_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[TypedRecord[_T] | None]]:
        """See `AioClient.read_many`. A document that doesn't fit fails for its key alone."""
        return self._future(self._typed().read_many(keys, deadline=deadline, progress=progress))

    def pop_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[TypedRecord[_T] | None]]:
        """See `AioClient.pop_many` and `pop`. A document that doesn't fit fails for its key alone."""
        return self._future(self._typed().pop_many(keys, deadline=deadline, progress=progress))

    def remove_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[int]]:
        """See `AioClient.remove_many`."""
        return self.untyped.remove_many(keys, deadline=deadline, progress=progress)

    def has_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> asyncio.Future[list[bool]]:
        """See `AioClient.has_many`."""
        return self.untyped.has_many(keys, deadline=deadline, progress=progress)

    def keys(self, *, deadline: float | None = None) -> AsyncIterator[str]:
        """See `AioClient.keys`."""
        return self.untyped.keys(deadline=deadline)

    def create(self, *, deadline: float | None = None) -> asyncio.Future[None]:
        """See `AioClient.create_index`."""
        return self.untyped.create(deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> asyncio.Future[None]:
        """See `AioClient.drop_index`."""
        return self.untyped.drop(deadline=deadline)

    def _typed(self) -> TypedIndex[_T]:
        """The same handle of the Deferred client, for verbs that it does the work of."""
        return self._bound.here().index(self.name, type=self._type)
