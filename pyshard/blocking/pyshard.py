"""`Pyshard`, the blocking client: the verbs of the Deferred client as calls that wait for their results.

Rules:

- The verbs, their arguments and their errors are those of `pyshard.Client`.
- Many threads may use one client at once.
- It has a reactor of its own, and touches the process's reactor never. A call in the thread of a running reactor is
  refused, since it would stop that reactor.
- A forked child connects anew at its first call; what the parent has open is left to the parent.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar, cast

from twisted.internet.defer import Deferred

from pyshard.blocking.bulk_windows import BulkWindows
from pyshard.blocking.index_handle import BlockingIndex
from pyshard.blocking.leader_followers import ReactorRunner
from pyshard.client import Client, Item, KeyPages, Pairs, Progress, Record, connect
from pyshard.client_core.argument_checks import deadline_seconds, milliseconds
from pyshard.client_core.bulk_input import keys_of, on_keys, pairs_of, writes
from pyshard.errors import ClientClosed
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_encoding import Storable
from pyshard.model.key_slots import Key
from pyshard.net import client_endpoints
from pyshard.net.client_endpoints import Servers
from pyshard.protocol.batch_operations import Has, Pop, Read, Remove
from pyshard.security.tls import Tls
from pyshard.settings import settings

_T = TypeVar("_T")


class Pyshard:
    """A cluster, by blocking calls.

    The verbs, their arguments and their errors are those of `pyshard.Client`; each call returns what the Deferred of
    the client's verb fires with. One `Pyshard` can be used by many threads at once, next to a running reactor (from
    other threads than its own), and in forked children, each of which connects anew at its first call. It is a
    context manager: ``with Pyshard() as app: …`` closes it at the end.

    :param bootstrap_server: ``['host', port]``, ``'host:port'`` or a Twisted client endpoint string; default
        `settings.BOOTSTRAP_SERVER`. Or several of them; see `pyshard.connect`.
    :param deadline: seconds that an operation may take, unless it is given another.
    :param token_file: the file whose first token it presents; default: the one that the environment variable
        ``PYSHARD_TOKEN_FILE`` names, if any; empty: none.
    :param tls: with which files to speak TLS, as `pyshard.connect` takes them (docs/tls.md).
    :raises ConfigError: the address, the token file or a file of TLS can't be used.
    :raises InvalidArgument: `deadline` is no positive number.
    :raises NotAuthenticated: the cluster wants a token, and was given none or a wrong one.
    :raises NotTrusted: the bootstrap's certificate is refused, or this client's by the bootstrap.
    :raises Unavailable: none of the servers had the map within the deadline; the message gives each one's reason.
    :raises BlockingCallRefused: the call would stop a reactor that runs in this thread.
    """

    def __init__(
        self,
        bootstrap_server: Servers | None = None,
        *,
        deadline: float = settings.DEADLINE,
        token_file: Path | str | None = None,
        tls: Tls | Literal[False] | None = None,
    ) -> None:
        self._server = settings.BOOTSTRAP_SERVER if bootstrap_server is None else bootstrap_server
        client_endpoints.parse_all(self._server)
        self._deadline = deadline_seconds(deadline)
        self._token_file = token_file
        self._tls = tls
        self._closed = False
        self._lock = threading.Lock()
        self._runner: ReactorRunner | None = None
        self._client: Client | None = None
        _instances.add(self)
        self._connected()

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
        return self.run(
            lambda client: client.write(
                key, doc, index, if_absent=if_absent, if_version=if_version, ttl=ttl, deadline=deadline
            )
        )

    def read(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Record | None:
        """Look a document up: ``{'hash_': …, 'record': …}`` or None. See `pyshard.Client.read`."""
        return self.run(lambda client: client.read(key, index, deadline=deadline))

    def item(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Item | None:
        """Look a document up, with its version, expiry and size. See `pyshard.Client.item`."""
        return self.run(lambda client: client.item(key, index, deadline=deadline))

    def pop(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Record | None:
        """Remove a document and give it, as `read` does. See `pyshard.Client.pop`."""
        return self.run(lambda client: client.pop(key, index, if_version=if_version, deadline=deadline))

    def remove(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> int:
        """Remove a document; the size that `write` gave for it, or 0. See `pyshard.Client.remove`."""
        return self.run(lambda client: client.remove(key, index, if_version=if_version, deadline=deadline))

    def touch(self, key: Key, ttl: float | None, index: str | None = None, *, deadline: float | None = None) -> bool:
        """Give a document a new time to live; whether the key exists. See `pyshard.Client.touch`."""
        return self.run(lambda client: client.touch(key, ttl, index, deadline=deadline))

    def increment(
        self, key: Key, by: int = 1, initial: int = 0, index: str | None = None, *, deadline: float | None = None
    ) -> int:
        """Add to a document that is an int; the new value. See `pyshard.Client.increment`."""
        return self.run(lambda client: client.increment(key, by, initial, index, deadline=deadline))

    def has(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> bool:
        """Whether a key exists. See `pyshard.Client.has`."""
        return self.run(lambda client: client.has(key, index, deadline=deadline))

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
        found = BulkWindows(True, self.run, deadline, progress).all(
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

    def keys(self, index: str | None = None, *, deadline: float | None = None) -> Iterator[str]:
        """All keys of an index, in slot order, fetched page by page. See `pyshard.Client.keys`."""
        self._index_name(index)
        begun: list[tuple[Client, KeyPages]] = []

        def next_page(client: Client) -> Deferred[list[str]]:
            if not begun:
                begun.append((client, client.keys(index, deadline=deadline)))
            owner, pages = begun[0]
            if owner is not client:
                raise ClientClosed("this scan belongs to the process that was forked; begin a new one")
            return pages.next_page()

        def scan() -> Iterator[str]:
            while page := self.run(next_page):
                yield from page

        return scan()

    def create_index(self, name: str, *, deadline: float | None = None) -> None:
        """Create an index. See `pyshard.Client.create_index`."""
        self.run(lambda client: client.create_index(name, deadline=deadline))

    def drop_index(self, name: str, *, deadline: float | None = None) -> None:
        """Drop an index with all its documents. See `pyshard.Client.drop_index`."""
        self.run(lambda client: client.drop_index(name, deadline=deadline))

    def indexes(self, *, deadline: float | None = None) -> list[str]:
        """The names of all indexes but the default one. See `pyshard.Client.indexes`."""
        return self.run(lambda client: client.indexes(deadline=deadline))

    def index(self, name: str) -> BlockingIndex:
        """A handle on one index, with the same verbs. See `pyshard.Client.index`."""
        return BlockingIndex(self, check_index_name(name))

    def stat(self, *, deadline: float | None = None) -> dict[str, object]:
        """How the cluster fares. See `pyshard.Client.stat`."""
        return self.run(lambda client: client.stat(deadline=deadline))

    def readiness(self, *, deadline: float | None = None) -> list[dict[str, str]]:
        """How ready each shard is, as the bootstrap sees it. See `pyshard.Client.readiness`."""
        return self.run(lambda client: client.readiness(deadline=deadline))

    def run(self, function: Callable[[Client], Deferred[_T]]) -> _T:
        """Call a function of the Deferred client, and wait for its Deferred.

        With it, blocking code has many operations in flight at once: the function may start any number of them and
        return their ``gatherResults``. It is called in the thread that runs the reactor at the moment. It must not
        block, and its Deferred must not depend on another reactor.

        :return: what the Deferred fired with.
        """
        runner, client = self._connected()
        return runner.run(partial(function, client))

    def close(self) -> None:
        """End all connections. Every later call raises `ClientClosed`."""
        with self._lock:
            if self._runner is not None and self._client is not None:
                self._runner.close(self._client.close)
            self._closed, self._runner, self._client = True, None, None

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
        return BulkWindows(verb in (Pop, Remove), self.run, deadline, progress).all(
            keys_of(keys), lambda window, size: on_keys(verb, window, name, size), lambda key: key
        )

    def _index_name(self, index: str | None) -> str:
        return "" if index is None else check_index_name(index)

    def _connected(self) -> tuple[ReactorRunner, Client]:
        """The runner and client of this process, made at the first call."""
        runner, client = self._runner, self._client
        if runner is not None and client is not None:
            return runner, client
        with self._lock:
            if self._closed:
                raise ClientClosed("this Pyshard is closed; make a new one")
            if self._runner is None or self._client is None:
                runner = ReactorRunner()
                try:
                    self._client = runner.run(
                        lambda: connect(
                            runner.reactor,
                            self._server,
                            deadline=self._deadline,
                            token_file=self._token_file,
                            tls=self._tls,
                        )
                    )
                except BaseException:
                    runner.dispose()
                    raise
                self._runner = runner
            return self._runner, self._client

    def _reset(self) -> None:
        """Forget the runner and client without closing them: after a fork they are the parent's."""
        self._lock = threading.Lock()
        self._runner = None
        self._client = None


_instances: weakref.WeakSet[Pyshard] = weakref.WeakSet()
_parents: list[object] = []


def _forked() -> None:
    """In a forked child: have every `Pyshard` connect anew, and keep the parent's connections from being collected."""
    for instance in list(_instances):
        _parents.append((instance._runner, instance._client))
        instance._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
