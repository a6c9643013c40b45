"""`Client`, the Deferred client of a cluster, which users hold: its everyday verbs (`get`, `add`, `update` and such).

Rules:

- A verb on one key returns a Deferred at once. It fires in the reactor's thread, at the deadline at the latest.
- In a bulk verb the deadline is that of each operation, and in `clear` that of each page of keys.
- Verbs on one key take effect in the order in which they were called; those on different keys have no order. Between
  the read and the write of an `update`, and before or behind a part of a bulk verb, others may come.
- `items` and `index` give no Deferred; a bad argument raises at once.
- A change is never repeated silently. Where one may have happened, the Deferred of a verb on one key fails with
  `OutcomeUnknown`, and that of a bulk verb with `PartialFailure`, which says so of each key.
- `close` ends whatever is still under way with an error. Later calls fail with `ClientClosed`.

`write`, `read` and other verbs on records are in `pyshard.client.record_verbs`, those about the cluster in
`pyshard.client.cluster_verbs`. What all three clients say of everyday verbs is in `pyshard.client_core.everyday_verbs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar, cast, overload

from twisted.internet.defer import Deferred, fail

from pyshard.client.index_handle import Index
from pyshard.client.item_pages import ItemPages
from pyshard.client.record_verbs import RecordVerbs
from pyshard.client.typed_index import TypedIndex
from pyshard.client_core.argument_checks import milliseconds
from pyshard.client_core.bulk_input import Pairs, pairs_of, writes
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import (
    LEAST,
    MISSING,
    DocumentUpdate,
    Missing,
    document_giver,
    documents_of,
    outrun,
    replace_options,
    whether_removed,
)
from pyshard.client_core.not_pickled import NotPickled
from pyshard.client_core.operation import VerbOptions, options_for
from pyshard.errors import PyshardError
from pyshard.model import document_encoding
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key
from pyshard.protocol.batch_operations import ABSENT, Read, Remove

_D = TypeVar("_D")
_T = TypeVar("_T")


class Client(RecordVerbs, NotPickled):
    """A connection to a cluster; `connect` makes it.

    Every verb returns at once, and takes ``index`` (a name; None is the one that `connect` was given, else the default
    index) and ``deadline`` (seconds; None is the client's own). Its Deferred fails with a `PyshardError`:

    - `InvalidKey`, `InvalidDocument`, `InvalidIndexName`, `InvalidArgument`: before anything is sent;
    - `IndexNotFound`: there is no such index;
    - `NotAuthenticated`, `PermissionDenied`: the client has no valid token, or one that may not do this;
    - `NotTrusted`: the shard's certificate is refused, or the client's by the shard;
    - `Unavailable`: no answer by the deadline, and nothing was changed;
    - `OutcomeUnknown`: a change was sent and its answer was lost;
    - `Overloaded`: too much waits for the shard already;
    - `ClientClosed`: after `close`.

    A Deferred that is cancelled before its operation was sent withdraws it. Operations on one key take effect in the
    order in which the verbs were called; `update` has two. A client can't be pickled or copied.
    """

    _belongs_to = "its reactor"
    _pickle_instead = "its address, such as 'pyshard://host:9192/index?deadline=5'"

    @overload
    def get(
        self,
        key: Key,
        default: None = None,
        index: str | None = None,
        *,
        type: None = None,
        deadline: float | None = None,
    ) -> Deferred[Document | None]: ...

    @overload
    def get(
        self, key: Key, default: _D, index: str | None = None, *, type: None = None, deadline: float | None = None
    ) -> Deferred[Document | _D]: ...

    @overload
    def get(
        self, key: Key, default: None = None, index: str | None = None, *, type: type[_T], deadline: float | None = None
    ) -> Deferred[_T | None]: ...

    @overload
    def get(
        self, key: Key, default: _D, index: str | None = None, *, type: type[_T], deadline: float | None = None
    ) -> Deferred[_T | _D]: ...

    def get(
        self,
        key: Key,
        default: Any = None,
        index: str | None = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
    ) -> Deferred[Any]:
        """The document of a key.

        :param default: what a key that is missing gives. A document that is None is given as it is.
        :param type: that of the document (`pyshard.client_core.typed_documents`), which is converted; default: none.
        :return: a Deferred of the document, or of `default`.
        :raises InvalidDocument: (in the Deferred) the document doesn't fit the type.
        :raises InvalidArgument: (in the Deferred) `type` can't be a type of documents.
        """
        try:
            convert = document_giver(default, type)
        except PyshardError:
            return fail()
        return self.read(key, index, deadline=deadline).addCallback(partial(convert, key))

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
    ) -> Deferred[list[Document | None]]: ...

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
    ) -> Deferred[list[Document | _D]]: ...

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
    ) -> Deferred[list[_T | None]]: ...

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
    ) -> Deferred[list[_T | _D]]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        index: str | None = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Any]]:
        """The documents of many keys; see `get`, and `write_many` for what holds for all bulk verbs.

        :return: a Deferred of what `get` gives for each key, in the order of the keys.
        """
        try:
            decode = documents_of(default, type)
        except PyshardError:
            return fail()
        return self._on_keys(Read, keys, index, deadline, progress, decode)

    def items(self, index: str | None = None, *, deadline: float | None = None) -> ItemPages:
        """All keys of an index with their documents, over all shards, in slot order.

        A page's keys are listed first, then its documents are read, 16 MiB at a time. Removed ones are left out.

        :param deadline: seconds that each page may take to be listed, and each read.
        :return: an asynchronous iterator of pairs: the key's text and the document.
        :raises InvalidIndexName: at once.
        """
        pages = self.keys(index, deadline=deadline)
        return ItemPages(self._clock, pages, lambda keys: self._read_results(keys, index, deadline))

    def add(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Deferred[bool]:
        """Store a document where there is none.

        :return: a Deferred of whether it was stored: the key didn't exist.
        """
        try:
            options = options_for(True, None, ttl)
        except PyshardError:
            return fail()
        return self._write_where(key, doc, index, options, deadline)

    def add_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[bool]]:
        """Store many documents, each where there is none; see `add` and `write_many`.

        :return: a Deferred of whether each was stored, in the order of the pairs.
        """
        try:
            size = self._router.slice_size(True)
            slices = writes(pairs_of(pairs), self._index_name(index), milliseconds(ttl), size, ABSENT)
        except PyshardError:
            return fail()
        return cast("Deferred[list[bool]]", self._bulk(slices, deadline, progress))

    def replace(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Deferred[bool]:
        """Store a document in place of one that is there.

        :param if_version: write nothing when the key's version (`item`) isn't this one.
        :return: a Deferred of whether it was stored: the key existed, in that version if one is given.
        """
        try:
            options = replace_options(if_version, ttl)
        except PyshardError:
            return fail()
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
    ) -> Deferred[Any]:
        """Have a function make a key's new document out of the old one.

        It is read, given to the function, and what that gives is written if nobody changed it meanwhile; else it all
        happens again, until the deadline. So the function may be called several times.

        :param function: given the document, gives the new one; it may change and give the same.
        :param default: what it is given where the key is missing; default: it isn't called, and nothing is written.
        :param ttl: as for `write`; default: the document keeps the time to live that it has.
        :return: a Deferred of the new document; None where the key is missing, and no default is given.
        :raises InvalidArgument: (in the Deferred) the function gave None, can't be called, or is a coroutine function.
        :raises Unavailable: (in the Deferred) somebody else was faster each time, until the deadline.
        """
        try:
            plan = DocumentUpdate(function, default, ttl)
        except PyshardError:
            return fail()
        return Deferred.fromCoroutine(self._update(plan, key, index, deadline))

    def clear(self, index: str | None = None, *, deadline: float | None = None) -> Deferred[int]:
        """Remove all documents that an index has when this begins, page by page. The index itself stays.

        :param deadline: seconds that each page may take to be listed, and to be removed.
        :return: a Deferred of how many documents were removed.
        :raises PartialFailure: (in the Deferred) some documents of a page could not be removed. What was removed before
            stays removed.
        """
        return Deferred.fromCoroutine(self._clear(index, deadline))

    @overload
    def index(self, name: str) -> Index: ...

    @overload
    def index(self, name: str, *, type: type[_T]) -> TypedIndex[_T]: ...

    def index(self, name: str, *, type: type[Any] | None = None) -> Index | TypedIndex[Any]:
        """A handle on one index, with the same verbs.

        :param type: that of all its documents: a dataclass, an attrs class, a ``msgspec.Struct`` or a TypedDict. The
            handle's verbs then take and give documents of that type; see `TypedIndex`.
        :raises InvalidIndexName: at once. Whether the index exists shows when it is used.
        :raises InvalidArgument: at once: `type` can't be a type of documents.
        """
        index = Index(self, check_index_name(name))
        return index if type is None else TypedIndex(index, type)

    # ------------------------------------------------------------------ inside

    def _write_where(
        self, key: Key, doc: Storable, index: str | None, options: VerbOptions, deadline: float | None
    ) -> Deferred[bool]:
        try:
            record = document_encoding.encode(doc)[0]
        except PyshardError:
            return fail()
        return self._operate("write", key, index, deadline, record, True, options)

    async def _update(self, plan: DocumentUpdate, key: Key, index: str | None, deadline: float | None) -> Any:
        clock = self._clock
        until = clock.seconds() + self._seconds(deadline)
        while (left := until - clock.seconds()) > 0:
            write = plan.write_after(await self._operate("item", key, index, left, at_primary=True))
            if write is None:
                return None
            left = max(LEAST, until - clock.seconds())
            if await self._operate("write", key, index, left, write.record, True, write.options):
                return write.document
        raise outrun(key)

    async def _clear(self, index: str | None, deadline: float | None) -> int:
        pages, removed = self.keys(index, deadline=deadline), 0
        while page := await pages.next_page():
            removed += (await self._on_keys(Remove, page, index, deadline, None, whether_removed)).count(True)
        return removed
