"""A handle on one index whose documents are of one type: the verbs of `Index`, with documents of that type.

Rules:

- A verb does what `Index`'s does. Documents are converted on their way in and out
  (`pyshard.client_core.typed_documents`), so a verb can also fail with `InvalidDocument`.
- A verb has the signature of `Index`'s, with the type in place of stored documents; tests/test_exports.py compares
  them. `increment` has no type, and is left to `Index`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast, overload

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from pyshard.client.key_pages import KeyPages
from pyshard.client.typed_item_pages import TypedItemPages
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import MISSING, Location, Missing
from pyshard.client_core.typed_documents import TypedItem, TypedPairs, TypedRecord, document_type
from pyshard.client_core.typed_verbs import TypedKeys, TypedUpdate
from pyshard.errors import PartialFailure, PyshardError
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import Key

if TYPE_CHECKING:
    from pyshard.client.index_handle import Index

_T = TypeVar("_T")
_Default = TypeVar("_Default")
_Found = TypeVar("_Found")
_Typed = TypeVar("_Typed")


class TypedIndex(Generic[_T]):
    """One index of a cluster, with documents of one type: the verbs of `Index`.

    :param index: the handle without the type.
    :param type: the documents' type (`pyshard.client_core.typed_documents.DocumentType`).
    :raises InvalidArgument: it can't be the type of documents.
    :ivar untyped: the handle without the type, for documents as they are stored.
    """

    def __init__(self, index: Index, type: type[_T]) -> None:
        self.untyped = index
        self.name = index.name
        self._type = type
        self._documents = document_type(type)

    def write(
        self,
        key: Key,
        doc: _T,
        *,
        if_absent: bool = False,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Deferred[int]:
        """See `Client.write`."""
        try:
            stored = self._documents.stored(key, doc)
        except PyshardError:
            return fail()
        return self.untyped.write(key, stored, if_absent=if_absent, if_version=if_version, ttl=ttl, deadline=deadline)

    def read(self, key: Key, *, deadline: float | None = None) -> Deferred[TypedRecord[_T] | None]:
        """See `Client.read`."""
        reading = self.untyped.read(key, deadline=deadline)
        return reading.addCallback(partial(self._documents.record, key))

    def item(self, key: Key, *, deadline: float | None = None) -> Deferred[TypedItem[_T] | None]:
        """See `Client.item`."""
        reading = self.untyped.item(key, deadline=deadline)
        return reading.addCallback(partial(self._documents.item, key))

    def pop(
        self, key: Key, *, if_version: int | None = None, deadline: float | None = None
    ) -> Deferred[TypedRecord[_T] | None]:
        """See `Client.pop`. A document that doesn't fit is removed all the same."""
        popping = self.untyped.pop(key, if_version=if_version, deadline=deadline)
        return popping.addCallback(partial(self._documents.popped, key))

    def remove(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> Deferred[int]:
        """See `Client.remove`."""
        return self.untyped.remove(key, if_version=if_version, deadline=deadline)

    def touch(
        self, key: Key, ttl: float | None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Deferred[bool]:
        """See `Client.touch`."""
        return self.untyped.touch(key, ttl, if_version=if_version, deadline=deadline)

    @overload
    def get(self, key: Key, default: None = None, *, deadline: float | None = None) -> Deferred[_T | None]: ...

    @overload
    def get(self, key: Key, default: _Default, *, deadline: float | None = None) -> Deferred[_T | _Default]: ...

    def get(self, key: Key, default: Any = None, *, deadline: float | None = None) -> Deferred[Any]:
        """See `Client.get`."""
        return self.untyped.get(key, default, type=self._type, deadline=deadline)

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[_T | None]]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _Default,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[_T | _Default]]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Any]]:
        """See `Client.get_many`. A document that doesn't fit fails for its key alone."""
        return self.untyped.get_many(keys, default, type=self._type, deadline=deadline, progress=progress)

    def add(self, key: Key, doc: _T, *, ttl: float | None = None, deadline: float | None = None) -> Deferred[bool]:
        """See `Client.add`."""
        try:
            stored = self._documents.stored(key, doc)
        except PyshardError:
            return fail()
        return self.untyped.add(key, stored, ttl=ttl, deadline=deadline)

    def add_many(
        self,
        pairs: TypedPairs[_T],
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[bool]]:
        """See `Client.add_many`. A document that doesn't fit fails for its key alone."""
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
    ) -> Deferred[bool]:
        """See `Client.replace`."""
        try:
            stored = self._documents.stored(key, doc)
        except PyshardError:
            return fail()
        return self.untyped.replace(key, stored, if_version=if_version, ttl=ttl, deadline=deadline)

    def update(
        self,
        key: Key,
        function: Callable[[_T], _T],
        *,
        default: _T | Missing = MISSING,
        ttl: float | Missing | None = MISSING,
        deadline: float | None = None,
    ) -> Deferred[_T | None]:
        """See `Client.update`. Stored fields that the type doesn't have are gone from the new document."""
        try:
            update = TypedUpdate(self._documents, key, function, default)
        except PyshardError:
            return fail()
        updating: Deferred[Document | None] = self.untyped.update(
            key, update.function, default=update.default, ttl=ttl, deadline=deadline
        )
        return updating.addCallback(update.result)

    def items(self, *, deadline: float | None = None) -> TypedItemPages[_T]:
        """See `Client.items`. A document that doesn't fit is an error in its place."""
        return TypedItemPages(self.untyped.items(deadline=deadline), self._documents)

    def count(self, *, deadline: float | None = None) -> Deferred[int]:
        """See `Client.count`."""
        return self.untyped.count(deadline=deadline)

    def clear(self, *, deadline: float | None = None) -> Deferred[int]:
        """See `Client.clear`."""
        return self.untyped.clear(deadline=deadline)

    def locate(self, key: Key) -> Location:
        """See `Client.locate`."""
        return self.untyped.locate(key)

    def has(self, key: Key, *, deadline: float | None = None) -> Deferred[bool]:
        """See `Client.has`."""
        return self.untyped.has(key, deadline=deadline)

    def write_many(
        self,
        pairs: TypedPairs[_T],
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[int]]:
        """See `Client.write_many`. A document that doesn't fit fails for its key alone."""
        stored = self._documents.pairs(pairs)
        return self.untyped.write_many(stored, ttl=ttl, deadline=deadline, progress=progress)

    def read_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[TypedRecord[_T] | None]]:
        """See `Client.read_many`. A document that doesn't fit fails for its key alone."""
        passed = TypedKeys(keys, self._documents.record)
        return _typed(self.untyped.read_many(passed, deadline=deadline, progress=progress), passed)

    def pop_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[TypedRecord[_T] | None]]:
        """See `Client.pop_many` and `pop`. A document that doesn't fit fails for its key alone."""
        passed = TypedKeys(keys, self._documents.popped)
        return _typed(self.untyped.pop_many(passed, deadline=deadline, progress=progress), passed)

    def remove_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[int]]:
        """See `Client.remove_many`."""
        return self.untyped.remove_many(keys, deadline=deadline, progress=progress)

    def has_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Deferred[list[bool]]:
        """See `Client.has_many`."""
        return self.untyped.has_many(keys, deadline=deadline, progress=progress)

    def keys(self, *, deadline: float | None = None) -> KeyPages:
        """See `Client.keys`."""
        return self.untyped.keys(deadline=deadline)

    def create(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.create_index`."""
        return self.untyped.create(deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.drop_index`."""
        return self.untyped.drop(deadline=deadline)


def _typed(outcomes: Deferred[list[_Found]], passed: TypedKeys[_Found, _Typed]) -> Deferred[list[_Typed]]:
    """A bulk verb's outcomes, with documents of the type, also those in a failure."""

    def failed(failure: Failure) -> NoReturn:
        failure.trap(PartialFailure)
        raise passed.failure(cast(PartialFailure, failure.value)) from None

    return outcomes.addCallbacks(passed.outcomes, failed)
