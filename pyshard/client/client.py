"""The Deferred API: `connect` gives a `Client`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random, SystemRandom
from typing import Literal, TypeVar, cast

import msgspec
from twisted.internet.defer import Deferred, DeferredList, fail, inlineCallbacks, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pyshard import addresses, cluster, commands, documents, tokenfile
from pyshard.addresses import Dial, Servers
from pyshard.batch import Has, Pop, Read, Remove
from pyshard.client.bulk import Bulk, Pairs, Progress, Step, keys_of, on_keys, pairs_of, writes
from pyshard.client.index import Index
from pyshard.client.operations import NO_OPTIONS, Operation, Options
from pyshard.client.pages import KeyPages
from pyshard.client.records import Item, Record, condition_of, milliseconds
from pyshard.client.routing import Routing
from pyshard.cluster import check_index_name
from pyshard.credential import authenticated, authenticated_dial
from pyshard.documents import Storable
from pyshard.errors import BadRequest, ClientClosed, DocumentTooLarge, InvalidArgument, PyshardError
from pyshard.hashing import Key, key_bytes, slot_of, slot_to_hash
from pyshard.settings import settings
from pyshard.steps import Steps
from pyshard.tls import Tls, dialing

_T = TypeVar("_T")


class Client:
    """A connection to a cluster; `connect` makes it.

    Every verb returns at once, and takes ``index`` (a name; None is the default index) and ``deadline`` (seconds;
    None is the client's own). Its Deferred fails with a `PyshardError`:

    - `InvalidKey`, `InvalidDocument`, `InvalidIndexName`: before anything is sent;
    - `IndexNotFound`: there is no such index;
    - `NotAuthenticated`, `PermissionDenied`: the client has no valid token, or one that may not do this;
    - `NotTrusted`: the shard's certificate is refused, or the client's by the shard;
    - `Unavailable`: no answer by the deadline, and nothing was changed;
    - `OutcomeUnknown`: a change was sent and its answer was lost;
    - `Overloaded`: too much waits for the shard already;
    - `ClientClosed`: after `close`.

    Operations on one key take effect in the order in which the verbs were called.
    """

    def __init__(self, clock: IReactorTime, routing: Routing, deadline: float) -> None:
        self._clock = clock
        self._routing = routing
        self._deadline = deadline

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
    ) -> Deferred[int]:
        """Store a document, in place of one that is there.

        :param if_absent: write nothing when the key exists.
        :param if_version: write nothing when the key's version (`item`) isn't this one.
        :param ttl: seconds after which the document is gone, to the millisecond; None: never. It replaces a time to
            live that the key had.
        :return: a Deferred of the document's size in the seed's measure (`pyshard.documents.measure`); 0 when nothing
            was written because `if_absent` or `if_version` was not met.
        :raises ShardFull: the document doesn't fit into its shard's limit any more.
        :raises InvalidArgument: a `ttl` that is no positive number, an `if_version` that is no version, or both
            conditions at once.
        """
        try:
            record, size = documents.encode(doc)
            options = Options(condition=condition_of(if_absent, if_version), ttl=milliseconds(ttl))
        except PyshardError:
            return fail()
        return cast("Deferred[int]", self._operate("write", key, index, deadline, record, size, options))

    def read(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[Record | None]:
        """Look a document up.

        :return: a Deferred of ``{'hash_': …, 'record': …}``, or of None when there is no such key.
        """
        return cast("Deferred[Record | None]", self._operate("read", key, index, deadline))

    def item(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[Item | None]:
        """Look a document up, with all that is known of it.

        :return: a Deferred of an `Item`, or of None when there is no such key.
        """
        return cast("Deferred[Item | None]", self._operate("item", key, index, deadline))

    def pop(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Deferred[Record | None]:
        """Remove a document and give it.

        :param if_version: remove nothing when the key's version isn't this one.
        :return: as `read`; None also when `if_version` was not met.
        """
        return cast("Deferred[Record | None]", self._conditional("pop", key, index, if_version, deadline))

    def remove(
        self, key: Key, index: str | None = None, *, if_version: int | None = None, deadline: float | None = None
    ) -> Deferred[int]:
        """Remove a document.

        :param if_version: remove nothing when the key's version isn't this one.
        :return: a Deferred of the size that `write` gave for it; 0 when there was none, or `if_version` was not met.
        """
        return cast("Deferred[int]", self._conditional("remove", key, index, if_version, deadline))

    def touch(
        self, key: Key, ttl: float | None, index: str | None = None, *, deadline: float | None = None
    ) -> Deferred[bool]:
        """Give a document a new time to live; its version stays.

        :param ttl: seconds from now; None: for ever.
        :return: a Deferred of whether the key exists.
        :raises InvalidArgument: (in the Deferred) `ttl` is no positive number.
        """
        try:
            options = Options(ttl=milliseconds(ttl))
        except PyshardError:
            return fail()
        return cast("Deferred[bool]", self._operate("touch", key, index, deadline, options=options))

    def increment(
        self, key: Key, by: int = 1, initial: int = 0, index: str | None = None, *, deadline: float | None = None
    ) -> Deferred[int]:
        """Add to a document that is an int, on its shard, in one go; a time to live that it has stays.

        :param by: what is added; may be negative.
        :param initial: what a key that doesn't exist counts for.
        :return: a Deferred of the new value.
        :raises NotANumber: (in the Deferred) the document is no int.
        :raises InvalidArgument: `by` or `initial` is no int.
        :raises DocumentTooLarge: `by` and `initial`, or the sum, are past the size of a document.
        """
        if type(by) is not int or type(initial) is not int:
            return fail(InvalidArgument(f"by and initial: found {by!r} and {initial!r}, expected ints"))
        try:
            amount, options = documents.encode(by)[0], Options(initial=documents.encode(initial)[0])
            if len(amount) + len(options.initial) > settings.MAX_DOCUMENT_BYTES:
                raise DocumentTooLarge(
                    f"by and initial have {len(amount):,} and {len(options.initial):,} bytes as stored; "
                    f"together they have at most {settings.MAX_DOCUMENT_BYTES:,}"
                )
        except PyshardError:
            return fail()
        return cast("Deferred[int]", self._operate("increment", key, index, deadline, amount, options=options))

    def has(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[bool]:
        """Whether a key exists.

        :return: a Deferred of True or False.
        """
        return cast("Deferred[bool]", self._operate("has", key, index, deadline))

    def write_many(
        self,
        pairs: Pairs,
        index: str | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[int]]:
        """Store many documents; see `write`.

        This and the other bulk verbs take any iterable of any length, from which they read only as fast as the shards
        take it, in the thread of the reactor. Keys given twice are dealt with in their order. Operations on one key
        that are issued while a bulk verb is under way may come before or after it.

        :param pairs: pairs of a key and a document; or a mapping.
        :param deadline: seconds that each operation may take from the moment it is issued. A shard that lets it pass
            is sent nothing more of this bulk.
        :param progress: called now and then with the number of keys that are done so far. What it raises ends the
            bulk, as does what the iterable raises: nothing more is issued, and the Deferred fails with it.
        :return: a Deferred of the sizes, in the order of the pairs.
        :raises PartialFailure: (in the Deferred, as all errors) some keys failed, or all; its ``outcomes`` have what
            became of each. The keys that aren't named as failed are done.
        """
        try:
            size = self._routing.bulk_step(True)
            steps = writes(pairs_of(pairs), self._index_name(index), milliseconds(ttl), size)
        except PyshardError:
            return fail()
        return cast("Deferred[list[int]]", self._bulk(steps, deadline, progress))

    def read_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Record | None]]:
        """Look many documents up; see `read`, and `write_many` for what holds for all bulk verbs.

        :return: a Deferred of what `read` gives for each key, in the order of the keys.
        """
        return cast("Deferred[list[Record | None]]", self._on_keys(Read, keys, index, deadline, progress))

    def pop_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[Record | None]]:
        """Remove many documents and give them; see `pop` and `write_many`.

        :return: a Deferred of what `pop` gives for each key, in the order of the keys.
        """
        return cast("Deferred[list[Record | None]]", self._on_keys(Pop, keys, index, deadline, progress))

    def remove_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[int]]:
        """Remove many documents; see `remove` and `write_many`.

        :return: a Deferred of what `remove` gives for each key, in the order of the keys.
        """
        return cast("Deferred[list[int]]", self._on_keys(Remove, keys, index, deadline, progress))

    def has_many(
        self,
        keys: Iterable[Key],
        index: str | None = None,
        *,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> Deferred[list[bool]]:
        """Whether each of many keys exists; see `has` and `write_many`.

        :return: a Deferred of True or False for each key, in the order of the keys.
        """
        return cast("Deferred[list[bool]]", self._on_keys(Has, keys, index, deadline, progress))

    def keys(self, index: str | None = None, *, deadline: float | None = None) -> KeyPages:
        """All keys of an index, over all shards, in slot order.

        :param deadline: seconds that each page may take.
        :return: an asynchronous iterator of the keys' texts (str), which fetches page after page.
        :raises InvalidIndexName: at once.
        """
        return KeyPages(self._clock, self._routing, self._index_name(index), self._seconds(deadline))

    def create_index(self, name: str, *, deadline: float | None = None) -> Deferred[None]:
        """Create an index; every shard in reach has it when the Deferred fires.

        :raises IndexExists: (in the Deferred) there is one of that name.
        """
        return self._change_indexes(commands.CreateIndex, name, deadline)

    def drop_index(self, name: str, *, deadline: float | None = None) -> Deferred[None]:
        """Drop an index with all its documents.

        :raises IndexNotFound: (in the Deferred) there is none of that name.
        """
        return self._change_indexes(commands.DropIndex, name, deadline)

    @inlineCallbacks
    def indexes(self, *, deadline: float | None = None) -> Steps[list[str]]:
        """The names of all indexes but the default one.

        :return: a Deferred of the sorted names, as the bootstrap has them.
        """
        self._check_open()
        answer = yield self._routing.bootstrap.ask(commands.GetMap, self._seconds(deadline))
        self._routing.adopt(cluster.from_json(answer["state"]))
        return sorted(cluster.from_json(answer["state"]).indexes)

    def index(self, name: str) -> Index:
        """A handle on one index, with the same verbs.

        :raises InvalidIndexName: at once. Whether the index exists shows when it is used.
        """
        return Index(self, check_index_name(name))

    @inlineCallbacks
    def stat(self, *, deadline: float | None = None) -> Steps[dict[str, object]]:
        """How the cluster fares.

        :return: a Deferred of ``{'cluster': id, 'epoch': …, 'indexes': [names], 'shards': [one dict a shard]}``.
            A shard's dict has name, address, range, limit, and: id, epoch, documents, bytes, histogram, connections,
            operations, uptime, ephemeral (docs/protocol.md, "Stat"); a shard that can't be reached has ``error``, the
            reason, in place of the latter.
        """
        self._check_open()
        state = self._routing.state
        asked = [link.asking.ask(commands.Stat, self._seconds(deadline)) for link in self._routing.links]
        outcomes = yield DeferredList(asked, consumeErrors=True)
        shards = []
        for own, (_, outcome) in zip(state.map.ranges, outcomes, strict=True):
            shard: dict[str, object] = {
                "name": own.name,
                "address": own.address,
                "range": [slot_to_hash(own.start), slot_to_hash(own.end)],
                "limit": own.limit,
            }
            if isinstance(outcome, Failure):
                shard["error"] = outcome.getErrorMessage()
            else:
                try:
                    shard |= _from_json(outcome["stat"], dict[str, object], "statistics")
                except BadRequest as error:
                    shard["error"] = str(error)
            shards.append(shard)
        return {"cluster": state.cluster, "epoch": state.epoch, "indexes": sorted(state.indexes), "shards": shards}

    @inlineCallbacks
    def readiness(self, *, deadline: float | None = None) -> Steps[list[dict[str, str]]]:
        """How ready each shard is, as the bootstrap sees it.

        :return: a Deferred of one dict a shard: name, address, state ("ready", "unreachable" or "refused") and detail,
            which says why it isn't ready.
        """
        self._check_open()
        answer = yield self._routing.bootstrap.ask(commands.Readiness, self._seconds(deadline))
        return _from_json(answer["shards"], list[dict[str, str]], "readiness")

    def close(self) -> Deferred[None]:
        """End all connections. Operations whose answer is still out fail.

        :return: a Deferred that fires when all connections are closed.
        """
        return succeed(None) if self._routing.closed else self._routing.close()

    # ------------------------------------------------------------------ inside

    def _bulk(self, steps: Iterator[Step], deadline: float | None, progress: Progress | None) -> Deferred[list[object]]:
        if self._routing.closed:
            return fail(
                ClientClosed(
                    "the client is closed, or was made before this process was forked; connect() gives a new one"
                )
            )
        return Bulk(self._clock, self._routing, steps, self._seconds(deadline), progress).start()

    def _on_keys(
        self,
        verb: type[Read | Has | Pop | Remove],
        keys: Iterable[Key],
        index: str | None,
        deadline: float | None,
        progress: Progress | None,
    ) -> Deferred[list[object]]:
        try:
            size = self._routing.bulk_step(verb in (Pop, Remove))
            steps = on_keys(verb, keys_of(keys), self._index_name(index), size)
        except PyshardError:
            return fail()
        return self._bulk(steps, deadline, progress)

    def _operate(
        self,
        verb: str,
        key: Key,
        index: str | None,
        deadline: float | None,
        record: bytes = b"",
        size: int = 0,
        options: Options = NO_OPTIONS,
    ) -> Deferred[object]:
        try:
            text = key_bytes(key)
            name = self._index_name(index)
        except PyshardError:
            return fail()
        expires = self._clock.seconds() + self._seconds(deadline)
        slot = slot_of(text, name.encode())
        return self._routing.submit(Operation(verb, name, text, slot, expires, record, size, options))

    def _conditional(
        self, verb: str, key: Key, index: str | None, if_version: int | None, deadline: float | None
    ) -> Deferred[object]:
        try:
            options = Options(condition=condition_of(False, if_version))
        except PyshardError:
            return fail()
        return self._operate(verb, key, index, deadline, options=options)

    def _index_name(self, index: str | None) -> str:
        return "" if index is None else check_index_name(index)

    def _seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline

    def _check_open(self) -> None:
        if self._routing.closed:
            raise ClientClosed(
                "the client is closed, or was made before this process was forked; connect() gives a new one"
            )

    @inlineCallbacks
    def _change_indexes(
        self, command: type[commands.CreateIndex] | type[commands.DropIndex], name: str, deadline: float | None
    ) -> Steps[None]:
        self._check_open()
        check_index_name(name)
        bootstrap, end = self._routing.bootstrap, self._clock.seconds() + self._seconds(deadline)
        yield bootstrap.ask(command, self._seconds(deadline), changes=True, name=name)
        try:
            answer = yield bootstrap.ask(commands.GetMap, max(0.0, end - self._clock.seconds()))
        except PyshardError:
            return  # the change is done all the same; a map without it is found out when the index is used
        self._routing.adopt(cluster.from_json(answer["state"]))


def connect(
    reactor: IReactorTime,
    bootstrap_server: Servers | None = None,
    *,
    deadline: float = settings.DEADLINE,
    token_file: Path | str | None = None,
    tls: Tls | Literal[False] | None = None,
    dial: Dial | None = None,
    random: Random | None = None,
) -> Deferred[Client]:
    """Connect to a cluster.

    The client belongs to its reactor, and so to the process that made it: in a forked child it is closed.

    :param reactor: the Twisted reactor that is to do the work.
    :param bootstrap_server: ``['host', port]``, ``'host:port'`` or a Twisted client endpoint string; default
        `settings.BOOTSTRAP_SERVER`. Or several of them, in a list or, with commas between, in one str: the map comes
        from the first that has it. A shard's address is good, too, for all but to create and drop indexes.
    :param deadline: seconds that an operation may take, reconnects and retries included, unless it is given another.
    :param token_file: the file whose first token the client presents (SECURITY.md); default: the one that the
        environment variable ``PYSHARD_TOKEN_FILE`` names, if it does; empty: none. It is read again when it changes.
    :param tls: with which files to speak TLS, with the bootstrap and all shards (docs/tls.md); default: those that a
        ``tls:`` string as `bootstrap_server` names, else those that the environment variables ``PYSHARD_TLS_CA``,
        ``PYSHARD_TLS_CERTIFICATE`` and ``PYSHARD_TLS_KEY`` name, else plain TCP; False: plain TCP.
    :param dial: makes the client endpoint of a host and port, without TLS; default: TCP on the reactor.
    :param random: jitter of retries, and the secret ids of the client's sessions; default: the system's.
    :return: a Deferred of the client, fired when it has the cluster's map.
    :raises ConfigError: (in the Deferred) the address, the token file or a file of TLS can't be used.
    :raises NotAuthenticated: the cluster wants a token, and was given none or a wrong one.
    :raises NotTrusted: the bootstrap's certificate is refused, or this client's by the bootstrap.
    :raises Unavailable: none of the servers had the map within the deadline; the message says why, of each.
    """
    environment = os.environ if dial is None else {}
    dial = dial or addresses.dial_with(reactor)
    try:
        given = addresses.parse_all(settings.BOOTSTRAP_SERVER if bootstrap_server is None else bootstrap_server)
        files = addresses.tls_of_all(given, tls, environment)
        if files is not None:
            dial = dialing(dial, files, reactor)
        servers = [(str(address), addresses.endpoint_of(reactor, address, dial)) for address in given]
        tokens = tokenfile.for_client(token_file)
    except PyshardError:
        return fail()
    if tokens is not None:
        servers = [(name, authenticated(endpoint, tokens.secret)) for name, endpoint in servers]
        dial = authenticated_dial(dial, tokens.secret)
    routing = Routing(reactor, servers, dial, random or SystemRandom())
    client = Client(reactor, routing, deadline)
    return _started(client, routing, deadline)


def _from_json(text: bytes, kind: type[_T], what: str) -> _T:
    """What a daemon answered in JSON."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the {what} that the daemon answered can't be read: {error}") from None


@inlineCallbacks
def _started(client: Client, routing: Routing, deadline: float) -> Steps[Client]:
    try:
        yield routing.start(deadline)
    except PyshardError:
        yield routing.close()
        raise
    return client
