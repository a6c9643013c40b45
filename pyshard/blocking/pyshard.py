"""`Pyshard`, the blocking client: the verbs as calls that wait for their results.

Rules:

- The verbs, their arguments and their errors are those of `pyshard.Client`.
- Many threads may use one client at once; their calls travel together (`pyshard.blocking.shard_pool`).
- It has no event loop and no thread of its own: each call does its work in the thread that makes it.
- A call blocks the thread that makes it, and what else runs in it: a call in the callback of a reactor, or in a
  coroutine of asyncio, stops that until its answer is there. `pyshard.connect` and `pyshard.aio` are for those.
- A forked child connects anew at its first call; what the parent has open is left to the parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from pyshard.blocking.bulk_call import BulkCall
from pyshard.blocking.cluster import BlockingCluster
from pyshard.blocking.cluster_calls import ClusterCalls
from pyshard.blocking.connecting import Connector
from pyshard.blocking.fork_count import fork_count
from pyshard.blocking.gathered_operation import GatheredOperation
from pyshard.blocking.index_handle import BlockingIndex
from pyshard.client_core.argument_checks import check_progress, deadline_seconds, milliseconds
from pyshard.client_core.bulk_input import Pairs, keys_of, on_keys, pairs_of, writes
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.operation import NO_OPTIONS, VerbOptions, increment_of, options_for
from pyshard.client_core.result_decoding import Item, Record
from pyshard.errors import ClientClosed
from pyshard.model import document_encoding
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key, key_bytes, slot_of
from pyshard.net.client_endpoints import Servers
from pyshard.net.connection_parameters import connection_parameters
from pyshard.protocol.batch_operations import Has, Pop, Read, Remove
from pyshard.security.tls import Tls


class Pyshard(ClusterCalls):
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
    :raises ConfigError: the address, the token file or a file of TLS can't be used.
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
    ) -> None:
        self._begin(
            Connector(
                connection_parameters(bootstrap_server, deadline=deadline, token_file=token_file, tls=tls, index=index)
            )
        )
        self._cluster()

    def _begin(self, connector: Connector) -> None:
        self._connector = connector
        self._deadline = connector.parameters.deadline
        self._default_index = connector.parameters.index
        self._closed = False
        self._forks = fork_count()
        self._made: BlockingCluster | None = None

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
    ) -> int:
        """Store a document, in place of one that is there; its size. See `pyshard.Client.write`."""
        record, size = document_encoding.encode(doc)
        options = options_for(if_absent, if_version, ttl)
        found: int = self._operate("write", key, index, deadline, record, size, options)
        return found

    def add(
        self,
        key: Key,
        doc: Storable,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store a document where the key doesn't exist; whether it was stored. See `pyshard.Client.add`."""
        return self._write_where(key, doc, index, options_for(True, None, ttl), deadline)

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
        """Store a document where the key exists; whether it was stored. See `pyshard.Client.replace`."""
        return self._write_where(key, doc, index, options_for(False, if_version, ttl), deadline)

    def read(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Record | None:
        """Look a document up: ``{'hash_': …, 'record': …}`` or None. See `pyshard.Client.read`."""
        found: Record | None = self._operate("read", key, index, deadline)
        return found

    def item(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Item | None:
        """Look a document up, with its version, expiry and size. See `pyshard.Client.item`."""
        found: Item | None = self._operate("item", key, index, deadline)
        return found

    def pop(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Record | None:
        """Remove a document and give it, as `read` does. See `pyshard.Client.pop`."""
        found: Record | None = self._operate("pop", key, index, deadline, options=options_for(False, if_version, None))
        return found

    def remove(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> int:
        """Remove a document; the size that `write` gave for it, or 0. See `pyshard.Client.remove`."""
        found: int = self._operate("remove", key, index, deadline, options=options_for(False, if_version, None))
        return found

    def touch(self, key: Key, ttl: float | None, index: str | None = None, *, deadline: float | None = None) -> bool:
        """Give a document a new time to live; whether the key exists. See `pyshard.Client.touch`."""
        found: bool = self._operate("touch", key, index, deadline, options=VerbOptions(ttl=milliseconds(ttl)))
        return found

    def increment(
        self, key: Key, by: int = 1, initial: int = 0, index: str | None = None, *, deadline: float | None = None
    ) -> int:
        """Add to a document that is an int; the new value. See `pyshard.Client.increment`."""
        amount, options = increment_of(by, initial)
        found: int = self._operate("increment", key, index, deadline, amount, options=options)
        return found

    def has(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> bool:
        """Whether a key exists. See `pyshard.Client.has`."""
        found: bool = self._operate("has", key, index, deadline)
        return found

    def write_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """Store many documents; their sizes, in order. See `pyshard.Client.write_many`.

        The iterables and ``progress`` of all bulk verbs run in the calling thread, while no call is in flight. So they
        may take their time and make calls of their own.
        """
        name, life = self._index_name(index), milliseconds(ttl)
        found = self._bulk(True, deadline, progress).all(
            pairs_of(pairs), lambda window, size: writes(window, name, life, size), lambda pair: pair[0]
        )
        return cast("list[int]", found)

    def read_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Record | None]:
        """What `read` gives for each key, in their order. See `pyshard.Client.read_many`."""
        return cast("list[Record | None]", self._on_keys(Read, keys, index, deadline, progress))

    def pop_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[Record | None]:
        """Remove many documents; what `pop` gives for each key, in their order. See `pyshard.Client.pop_many`."""
        return cast("list[Record | None]", self._on_keys(Pop, keys, index, deadline, progress))

    def remove_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """Remove many documents; what `remove` gives for each key, in their order. See `pyshard.Client.remove_many`."""
        return cast("list[int]", self._on_keys(Remove, keys, index, deadline, progress))

    def has_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> list[bool]:
        """Whether each key exists, in their order. See `pyshard.Client.has_many`."""
        return cast("list[bool]", self._on_keys(Has, keys, index, deadline, progress))

    def index(self, name: str) -> BlockingIndex:
        """A handle on one index, with the same verbs. See `pyshard.Client.index`."""
        return BlockingIndex(self, check_index_name(name))

    def __reduce__(self) -> tuple[Callable[[Connector], Pyshard], tuple[Connector]]:
        return over, (self._connector,)

    def close(self) -> None:
        """End all connections. Every later call raises `ClientClosed`."""
        self._closed = True
        made, self._made = self._made, None
        if made is not None and self._forks == fork_count():
            made.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _on_keys(
        self,
        verb: type[Read | Has | Pop | Remove],
        keys: Iterable[Key],
        index: str | None,
        deadline: float | None,
        progress: Progress | None,
    ) -> list[object]:
        name = self._index_name(index)
        return self._bulk(verb in (Pop, Remove), deadline, progress).all(
            keys_of(keys), lambda window, size: on_keys(verb, window, name, size), lambda key: key
        )

    def _bulk(self, changes: bool, deadline: float | None, progress: Progress | None) -> BulkCall:
        check_progress(progress)
        return BulkCall(self._cluster(), changes, self._seconds(deadline), progress)

    def _write_where(
        self, key: Key, doc: Storable, index: str | None, options: VerbOptions, deadline: float | None
    ) -> bool:
        # A write answers the size that it is given here, or 0 where the condition is unmet.
        return bool(self._operate("write", key, index, deadline, document_encoding.encode(doc)[0], 1, options))

    def _operate(
        self,
        verb: str,
        key: Key,
        index: str | None,
        deadline: float | None,
        record: bytes = b"",
        size: int = 0,
        options: VerbOptions = NO_OPTIONS,
    ) -> Any:  # what the verb gives
        text = key_bytes(key)
        name = self._default_index if index is None else check_index_name(index)
        cluster = self._cluster()
        expires = cluster.network.now() + (self._deadline if deadline is None else deadline_seconds(deadline))
        slot = slot_of(text, name.encode()) if name else slot_of(text)
        weight = len(text) + len(record) + len(options.initial)
        return cluster.operate(GatheredOperation(verb, name, text, slot, expires, weight, record, size, options))

    def _seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline_seconds(deadline)

    def _cluster(self) -> BlockingCluster:
        """The cluster as this process reaches it, made at the first call."""
        made = self._made
        if made is not None and self._forks == fork_count():
            return made
        if self._closed:
            raise ClientClosed("this Pyshard is closed; make a new one")
        made = self._connector.connect()
        if self._made is not None and self._forks == fork_count():  # another thread was faster
            made.close()
            return self._made
        self._forks = fork_count()
        self._made = made
        return made


def over(connector: Connector) -> Pyshard:
    """A client that connects at its first call, as it was made or in another way than by sockets of the system."""
    made = Pyshard.__new__(Pyshard)
    made._begin(connector)
    return made
