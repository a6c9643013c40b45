"""`Pyshard`, the blocking client: the verbs as calls that wait for their results.

Rules:

- The verbs, their arguments and their errors are those of `pyshard.Client`. Those on records and in bulk are in
  `pyshard.blocking.record_calls`, those about the cluster in `pyshard.blocking.cluster_calls`.
- Many threads may use one client at once; their calls travel together (`pyshard.blocking.shard_pool`).
- It has no event loop, and no thread that stays: each call does its work in the thread that makes it. Only a host's
  name is looked up in another one, which ends with the answer.
- A call blocks the reactor or event loop in whose thread it is made: `pyshard.connect` and `pyshard.aio` are for those.
- A forked child connects anew at its first call; what the parent has open is left to the parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast, overload

from pyshard.blocking.cluster import BlockingCluster
from pyshard.blocking.connector import Connector
from pyshard.blocking.fork_count import fork_count
from pyshard.blocking.index_handle import BlockingIndex
from pyshard.blocking.interrupted_change import tell_doubt
from pyshard.blocking.item_scan import ItemScan
from pyshard.blocking.record_calls import RecordCalls
from pyshard.blocking.typed_index import BlockingTypedIndex
from pyshard.client_core.argument_checks import milliseconds
from pyshard.client_core.bulk_input import Pairs, pairs_of, writes
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.everyday_verbs import (
    MISSING,
    DocumentUpdate,
    Missing,
    document_giver,
    documents_of,
    replace_options,
    whether_removed,
)
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.client_core.operation import options_for
from pyshard.errors import ClientClosed
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_encoding import Document, Storable
from pyshard.model.key_slots import Key
from pyshard.net.address_parsing import Servers
from pyshard.net.connection_parameters import connection_parameters
from pyshard.protocol.batch_operations import ABSENT, Read, Remove
from pyshard.security.tls import Tls

_D = TypeVar("_D")
_T = TypeVar("_T")


class Pyshard(RecordCalls):
    """A cluster, by blocking calls.

    The verbs, their arguments and their errors are those of `pyshard.Client`; each call returns what the Deferred of
    the client's verb fires with. One `Pyshard` can be used by many threads at once, and in forked children, each of
    which connects anew at its first call. It is a context manager: ``with Pyshard() as app: …`` closes it at the end.
    It can be pickled and copied: what comes out connects anew.

    :param bootstrap_server: ``['host', port]``, ``'host:port'``, a URL (``'pyshard://host:port/index?deadline=5'``),
        or an endpoint string of ``tcp:`` or ``tls:``; default `settings.BOOTSTRAP_SERVER`. Or several of them; see
        `pyshard.connect`.
    :param deadline: seconds that an operation may take, unless it is given another.
    :param token_file: the file whose first token it presents; default: the one that the environment variable
        ``PYSHARD_TOKEN_FILE`` names, if any; empty: none.
    :param tls: with which files to speak TLS, as `pyshard.connect` takes them (docs/tls.md).
    :param index: the name of the index that verbs mean where they are given none; default: the default index.
    :param addresses: where to dial shards in place of where the map says, as `pyshard.connect` takes it.
    :param read_from: ``"nearest"``: reads go to the replica that answers soonest, and may find what is a little old.
    :raises ConfigError: an address, the token file or a file of TLS can't be used.
    :raises InvalidArgument: `deadline` is no positive number.
    :raises NotAuthenticated: the cluster wants a token, and was given none or a wrong one.
    :raises NotTrusted: the bootstrap's certificate is refused, or this client's by the bootstrap.
    :raises Unavailable: none of the servers had the map within the deadline; the message gives each one's reason.
    """

    def __init__(
        self,
        bootstrap_server: Servers | None = None,
        *,
        deadline: float | None = None,
        token_file: Path | str | None = None,
        tls: Tls | Literal[False] | None = None,
        index: str | None = None,
        addresses: Mapping[str, str] | None = None,
        read_from: ReadFrom | None = None,
    ) -> None:
        given = connection_parameters(
            bootstrap_server,
            deadline=deadline,
            token_file=token_file,
            tls=tls,
            index=index,
            addresses=addresses,
            read_from=read_from,
        )
        self._begin(Connector(given))
        self._cluster()

    def _begin(self, connector: Connector) -> None:
        self._connector = connector
        self._deadline = connector.parameters.deadline
        self._default_index = connector.parameters.index
        self._closed = False
        self._made: BlockingCluster | None = None

    @overload
    def get(
        self,
        key: Key,
        default: None = None,
        index: str | None = None,
        *,
        type: None = None,
        deadline: float | None = None,
    ) -> Document | None: ...

    @overload
    def get(
        self, key: Key, default: _D, index: str | None = None, *, type: None = None, deadline: float | None = None
    ) -> Document | _D: ...

    @overload
    def get(
        self, key: Key, default: None = None, index: str | None = None, *, type: type[_T], deadline: float | None = None
    ) -> _T | None: ...

    @overload
    def get(
        self, key: Key, default: _D, index: str | None = None, *, type: type[_T], deadline: float | None = None
    ) -> _T | _D: ...

    def get(
        self,
        key: Key,
        default: Any = None,
        index: str | None = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
    ) -> Any:
        """The document of a key, or `default`. See `pyshard.Client.get`."""
        convert = document_giver(default, type)
        return convert(key, self.read(key, index, deadline=deadline))

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
    ) -> list[Document | None]: ...

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
    ) -> list[Document | _D]: ...

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
    ) -> list[_T | None]: ...

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
    ) -> list[_T | _D]: ...

    def get_many(
        self,
        keys: Iterable[Key],
        default: Any = None,
        index: str | None = None,
        *,
        type: type[Any] | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """What `get` gives for each key, in their order. See `pyshard.Client.get_many`."""
        return self._on_keys(Read, keys, index, deadline, progress, documents_of(default, type))

    def items(self, index: str | None = None, *, deadline: float | None = None) -> Iterator[tuple[str, Document]]:
        """All keys of an index with their documents, in slot order, page by page. See `pyshard.Client.items`."""
        pages = self._key_pages(index, deadline)
        return ItemScan(self._index_name(index), pages, lambda keys: self._read_results(keys, index, deadline))

    def add(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store a document where there is none; whether it was stored. See `pyshard.Client.add`."""
        return self._write_where(key, doc, index, options_for(True, None, ttl), deadline)

    def add_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[bool]:
        """Store each document whose key doesn't exist; whether each was stored. See `pyshard.Client.add_many`."""
        name, life = self._index_name(index), milliseconds(ttl)
        found = self._bulk(True, deadline, progress).all(
            pairs_of(pairs), lambda window, size: writes(window, name, life, size, ABSENT), itemgetter(0)
        )
        return cast("list[bool]", found)

    def replace(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        if_version: int | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store a document in place of one that is there; whether it was stored. See `pyshard.Client.replace`."""
        return self._write_where(key, doc, index, replace_options(if_version, ttl), deadline)

    def update(
        self,
        key: Key,
        function: Callable[[Any], Storable],
        index: str | None = None,
        *,
        default: object = MISSING,
        ttl: float | Missing | None = MISSING,
        deadline: float | None = None,
    ) -> Any:
        """Have a function make a key's new document out of the old one; the new one. See `pyshard.Client.update`."""
        return self._update(lambda: DocumentUpdate(function, default, ttl), key, index, deadline)

    def clear(self, index: str | None = None, *, deadline: float | None = None) -> int:
        """Remove all documents that an index has; how many were removed. See `pyshard.Client.clear`."""
        removed = 0
        try:
            for page in self._key_pages(index, deadline):
                removed += self._on_keys(Remove, page, index, deadline, None, whether_removed).count(True)
        except BaseException as error:
            if removed:
                tell_doubt(error, f"{removed:,} documents were removed, but this call was interrupted")
            raise
        return removed

    @overload
    def index(self, name: str) -> BlockingIndex: ...

    @overload
    def index(self, name: str, *, type: type[_T]) -> BlockingTypedIndex[_T]: ...

    def index(self, name: str, *, type: type[Any] | None = None) -> BlockingIndex | BlockingTypedIndex[Any]:
        """A handle on one index, with the same verbs. See `pyshard.Client.index`."""
        index = BlockingIndex(self, check_index_name(name))
        return index if type is None else BlockingTypedIndex(index, type)

    def __reduce__(self) -> tuple[Callable[[Connector], Pyshard], tuple[Connector]]:
        return over, (self._connector,)

    def close(self) -> None:
        """End all connections. Every later call raises `ClientClosed`."""
        self._closed = True
        made, self._made = self._made, None
        if made is not None and made.forks == fork_count():
            made.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begun(self, seconds: float) -> tuple[BlockingCluster, float]:
        """See `ClusterCalls`."""
        made = self._made
        if made is not None and made.forks == fork_count():
            until = made.network.now() + seconds
            made.confirm(until)
            return made, until
        until = self._connector.now() + seconds
        return self._cluster(seconds), until

    def _cluster(self, seconds: float | None = None) -> BlockingCluster:
        """See `ClusterCalls`."""
        made = self._made
        if made is not None and made.forks == fork_count():
            return made
        if self._closed:
            raise ClientClosed("this Pyshard is closed; make a new one")
        made = self._connector.connect(seconds)
        faster = self._made  # by another thread
        if faster is not None and faster.forks == fork_count():
            made.close()
            return faster
        self._made = made
        return made


def over(connector: Connector, at_once: bool = False) -> Pyshard:
    """A client, as it was made or in another way than by sockets of the system.

    :param at_once: whether it connects now, and not at its first call.
    """
    made = Pyshard.__new__(Pyshard)
    made._begin(connector)
    if at_once:
        made._cluster()
    return made
