"""A handle on one index whose documents are of one type: the verbs of `BlockingIndex`, with documents of that type.

Rules are those of `pyshard.client.typed_index`. A verb raises what the Deferred of that one's fails with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import MISSING, Location, Missing
from pyshard.client_core.typed_documents import TypedItem, TypedPairs, TypedRecord, document_type
from pyshard.client_core.typed_verbs import TypedKeys, TypedUpdate
from pyshard.errors import PartialFailure
from pyshard.model.key_slots import Key

if TYPE_CHECKING:
    from pyshard.blocking.index_handle import BlockingIndex

_T = TypeVar("_T")
_Default = TypeVar("_Default")
_Found = TypeVar("_Found")
_Typed = TypeVar("_Typed")


class BlockingTypedIndex(Generic[_T]):
    """One index of a cluster, with documents of one type: the verbs of `BlockingIndex`.

    :param index: the handle without the type.
    :param type: the documents' type (`pyshard.client_core.typed_documents.DocumentType`).
    :raises InvalidArgument: it can't be the type of documents.
    :ivar untyped: the handle without the type, for documents as they are stored.
    """

    def __init__(self, index: BlockingIndex, type: type[_T]) -> None:
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
    ) -> int:
        """See `Pyshard.write`."""
        stored = self._documents.stored(key, doc)
        return self.untyped.write(key, stored, if_absent=if_absent, if_version=if_version, ttl=ttl, deadline=deadline)

    def read(self, key: Key, *, deadline: float | None = None) -> TypedRecord[_T] | None:
        """See `Pyshard.read`."""
        return self._documents.record(key, self.untyped.read(key, deadline=deadline))

    def item(self, key: Key, *, deadline: float | None = None) -> TypedItem[_T] | None:
        """See `Pyshard.item`."""
        return self._documents.item(key, self.untyped.item(key, deadline=deadline))

    def pop(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> TypedRecord[_T] | None:
        """See `Pyshard.pop`. A document that doesn't fit is removed all the same."""
        return self._documents.popped(key, self.untyped.pop(key, if_version=if_version, deadline=deadline))

    def remove(self, key: Key, *, if_version: int | None = None, deadline: float | None = None) -> int:
        """See `Pyshard.remove`."""
        return self.untyped.remove(key, if_version=if_version, deadline=deadline)

    def touch(
        self, key: Key, ttl: float | None, *, if_version: int | None = None, deadline: float | None = None
    ) -> bool:
        """See `Pyshard.touch`."""
        return self.untyped.touch(key, ttl, if_version=if_version, deadline=deadline)

    @overload
    def get(self, key: Key, default: None = None, *, deadline: float | None = None) -> _T | None: ...

    @overload
    def get(self, key: Key, default: _Default, *, deadline: float | None = None) -> _T | _Default: ...

    def get(self, key: Key, default: Any = None, *, deadline: float | None = None) -> Any:
        """See `Pyshard.get`."""
        return self.untyped.get(key, default, type=self._type, deadline=deadline)

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[_T | None]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _Default,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[_T | _Default]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """See `Pyshard.get_many`. A document that doesn't fit fails for its key alone."""
        return self.untyped.get_many(keys, default, type=self._type, deadline=deadline, progress=progress)

    def add(self, key: Key, doc: _T, *, ttl: float | None = None, deadline: float | None = None) -> bool:
        """See `Pyshard.add`."""
        stored = self._documents.stored(key, doc)
        return self.untyped.add(key, stored, ttl=ttl, deadline=deadline)

    def add_many(
        self,
        pairs: TypedPairs[_T],
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[bool]:
        """See `Pyshard.add_many`. A document that doesn't fit fails for its key alone."""
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
    ) -> bool:
        """See `Pyshard.replace`."""
        stored = self._documents.stored(key, doc)
        return self.untyped.replace(key, stored, if_version=if_version, ttl=ttl, deadline=deadline)

    def update(
        self,
        key: Key,
        function: Callable[[_T], _T],
        *,
        default: _T | Missing = MISSING,
        ttl: float | Missing | None = MISSING,
        deadline: float | None = None,
    ) -> _T | None:
        """See `Pyshard.update`. Stored fields that the type doesn't have are gone from the new document."""
        update = TypedUpdate(self._documents, key, function, default)
        return update.result(
            self.untyped.update(key, update.function, default=update.default, ttl=ttl, deadline=deadline)
        )

    def items(self, *, deadline: float | None = None) -> Iterator[tuple[str, _T]]:
        """See `Pyshard.items`. A document that doesn't fit is an error in its place; `next` goes on behind it."""
        return map(self._documents.pair, self.untyped.items(deadline=deadline))

    def count(self, *, deadline: float | None = None) -> int:
        """See `Pyshard.count`."""
        return self.untyped.count(deadline=deadline)

    def clear(self, *, deadline: float | None = None) -> int:
        """See `Pyshard.clear`."""
        return self.untyped.clear(deadline=deadline)

    def locate(self, key: Key) -> Location:
        """See `Pyshard.locate`."""
        return self.untyped.locate(key)

    def has(self, key: Key, *, deadline: float | None = None) -> bool:
        """See `Pyshard.has`."""
        return self.untyped.has(key, deadline=deadline)

    def write_many(
        self,
        pairs: TypedPairs[_T],
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """See `Pyshard.write_many`. A document that doesn't fit fails for its key alone."""
        stored = self._documents.pairs(pairs)
        return self.untyped.write_many(stored, ttl=ttl, deadline=deadline, progress=progress)

    def read_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[TypedRecord[_T] | None]:
        """See `Pyshard.read_many`. A document that doesn't fit fails for its key alone."""
        return _typed(self.untyped.read_many, keys, self._documents.record, deadline, progress)

    def pop_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[TypedRecord[_T] | None]:
        """See `Pyshard.pop_many` and `pop`. A document that doesn't fit fails for its key alone."""
        return _typed(self.untyped.pop_many, keys, self._documents.popped, deadline, progress)

    def remove_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[int]:
        """See `Pyshard.remove_many`."""
        return self.untyped.remove_many(keys, deadline=deadline, progress=progress)

    def has_many(
        self, keys: Iterable[Key], *, deadline: float | None = None, progress: Progress | None = None
    ) -> list[bool]:
        """See `Pyshard.has_many`."""
        return self.untyped.has_many(keys, deadline=deadline, progress=progress)

    def keys(self, *, deadline: float | None = None) -> Iterator[str]:
        """See `Pyshard.keys`."""
        return self.untyped.keys(deadline=deadline)

    def create(self, *, deadline: float | None = None) -> None:
        """See `Pyshard.create_index`."""
        self.untyped.create(deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> None:
        """See `Pyshard.drop_index`."""
        self.untyped.drop(deadline=deadline)


def _typed(
    verb: Callable[..., list[_Found]],
    keys: Iterable[Key],
    convert: Callable[[object, _Found], _Typed],
    deadline: float | None,
    progress: Progress | None,
) -> list[_Typed]:
    """A bulk verb's outcomes, with documents of the type, also those in a failure."""
    passed = TypedKeys(keys, convert)
    try:
        found = verb(passed, deadline=deadline, progress=progress)
    except PartialFailure as failure:
        raise passed.failure(failure) from None
    return passed.outcomes(found)
