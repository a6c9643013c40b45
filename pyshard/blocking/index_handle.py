"""A handle on one index: the verbs of `Pyshard`, with the index filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pyshard.client_core.bulk_input import Pairs
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import MISSING, Location, Missing
from pyshard.client_core.result_decoding import Item, Record
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key

_D = TypeVar("_D")
_T = TypeVar("_T")

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

    def touch(
        self, key: Key, ttl: float | None, *, if_version: int | None = None, deadline: float | None = None
    ) -> bool:
        """See `Pyshard.touch`."""
        return self._app.touch(key, ttl, self.name, if_version=if_version, deadline=deadline)

    def increment(
        self, key: Key, by: int = 1, initial: int = 0, *, ttl: float | None = None, deadline: float | None = None
    ) -> int:
        """See `Pyshard.increment`."""
        return self._app.increment(key, by, initial, self.name, ttl=ttl, deadline=deadline)

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

    @overload
    def get(
        self, key: Key, default: None = None, *, type: None = None, deadline: float | None = None
    ) -> Document | None: ...

    @overload
    def get(self, key: Key, default: _D, *, type: None = None, deadline: float | None = None) -> Document | _D: ...

    @overload
    def get(self, key: Key, default: None = None, *, type: type[_T], deadline: float | None = None) -> _T | None: ...

    @overload
    def get(self, key: Key, default: _D, *, type: type[_T], deadline: float | None = None) -> _T | _D: ...

    def get(
        self, key: Key, default: Any = None, *, type: type[Any] | None = None, deadline: float | None = None
    ) -> Any:
        """The document of a key, or `default`. See `pyshard.Client.get`."""
        return self._app.get(key, default, self.name, type=type, deadline=deadline)

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        type: None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Document | None]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _D,
        *,
        type: None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Document | _D]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: None = None,
        *,
        type: type[_T],
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[_T | None]: ...

    @overload
    def get_many(
        self,
        keys: Iterable[Key],
        default: _D,
        *,
        type: type[_T],
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[_T | _D]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """What `get` gives for each key, in their order. See `pyshard.Client.get_many`."""
        return self._app.get_many(keys, default, self.name, type=type, deadline=deadline, progress=progress)

    def items(self, *, deadline: float | None = None) -> Iterator[tuple[str, Document]]:
        """All keys of an index with their documents, in slot order, page by page. See `pyshard.Client.items`."""
        return self._app.items(self.name, deadline=deadline)

    def add(self, key: Key, doc: Storable, *, ttl: float | None = None, deadline: float | None = None) -> bool:
        """Store a document where there is none; whether it was stored. See `pyshard.Client.add`."""
        return self._app.add(key, doc, self.name, ttl=ttl, deadline=deadline)

    def add_many(
        self, pairs: Pairs, *, ttl: float | None = None, deadline: float | None = None, progress: Progress | None = None
    ) -> list[bool]:
        """Store each document whose key doesn't exist; whether each was stored. See `pyshard.Client.add_many`."""
        return self._app.add_many(pairs, self.name, ttl=ttl, deadline=deadline, progress=progress)

    def replace(
        self,
        key: Key,
        doc: Storable,
        *,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store a document in place of one that is there; whether it was stored. See `pyshard.Client.replace`."""
        return self._app.replace(key, doc, self.name, if_version=if_version, ttl=ttl, deadline=deadline)

    def update(
        self,
        key: Key,
        function: Callable[[Any], Storable],
        *,
        default: object = MISSING,
        ttl: float | Missing | None = MISSING,
        deadline: float | None = None,
    ) -> Any:
        """Have a function make a key's new document out of the old one; the new one. See `pyshard.Client.update`."""
        return self._app.update(key, function, self.name, default=default, ttl=ttl, deadline=deadline)

    def count(self, *, deadline: float | None = None) -> int:
        """How many documents an index has. See `pyshard.Client.count`."""
        return self._app.count(self.name, deadline=deadline)

    def clear(self, *, deadline: float | None = None) -> int:
        """Remove all documents that an index has; how many were removed. See `pyshard.Client.clear`."""
        return self._app.clear(self.name, deadline=deadline)

    def locate(self, key: Key) -> Location:
        """Where a key is, by the client's map. See `pyshard.Client.locate`."""
        return self._app.locate(key, self.name)

    def create(self, *, deadline: float | None = None) -> None:
        """See `Pyshard.create_index`."""
        self._app.create_index(self.name, deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> None:
        """See `Pyshard.drop_index`."""
        self._app.drop_index(self.name, deadline=deadline)
