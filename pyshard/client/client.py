"""The Deferred API: `connect` gives a `Client`."""

from __future__ import annotations

from random import Random
from typing import TypedDict, cast

import msgspec
from twisted.internet.defer import Deferred, DeferredList, fail, inlineCallbacks, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pyshard import addresses, cluster, commands, documents
from pyshard.addresses import Dial, Server
from pyshard.client.operations import Operation
from pyshard.client.pages import KeyPages
from pyshard.client.routing import Routing
from pyshard.cluster import check_index_name
from pyshard.documents import Document
from pyshard.errors import ClientClosed, PyshardError
from pyshard.hashing import Key, key_bytes, slot_of, slot_to_hash
from pyshard.settings import settings
from pyshard.wire import Steps


class Record(TypedDict):
    """What `read` and `pop` give: the key's hash, a number in [0, 1), and the document."""

    hash_: float
    record: Document


class Client:
    """A connection to a cluster; `connect` makes it.

    Every verb returns at once, and takes ``index`` (a name; None is the default index) and ``deadline`` (seconds;
    None is the client's own). Its Deferred fails with a `PyshardError`:

    - `InvalidKey`, `InvalidDocument`, `InvalidIndexName`: before anything is sent;
    - `IndexNotFound`: there is no such index;
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
        doc: Document,
        index: str | None = None,
        *,
        if_absent: bool = False,
        deadline: float | None = None,
    ) -> Deferred[int]:
        """Store a document, in place of one that is there.

        :param if_absent: write nothing when the key exists.
        :return: a Deferred of the document's size in the seed's measure (`pyshard.documents.measure`); 0 when
            `if_absent` found the key.
        :raises ShardFull: the document doesn't fit into its shard's limit any more.
        """
        try:
            record, size = documents.encode(doc)
        except PyshardError:
            return fail()
        verb = "add" if if_absent else "write"
        return cast("Deferred[int]", self._operate(verb, key, index, deadline, record, size))

    def read(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[Record | None]:
        """Look a document up.

        :return: a Deferred of ``{'hash_': …, 'record': …}``, or of None when there is no such key.
        """
        return cast("Deferred[Record | None]", self._operate("read", key, index, deadline))

    def pop(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[Record | None]:
        """Remove a document and give it.

        :return: as `read`.
        """
        return cast("Deferred[Record | None]", self._operate("pop", key, index, deadline))

    def remove(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[int]:
        """Remove a document.

        :return: a Deferred of the size that `write` gave for it; 0 when there was none.
        """
        return cast("Deferred[int]", self._operate("remove", key, index, deadline))

    def has(self, key: Key, index: str | None = None, *, deadline: float | None = None) -> Deferred[bool]:
        """Whether a key exists.

        :return: a Deferred of True or False.
        """
        return cast("Deferred[bool]", self._operate("has", key, index, deadline))

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
                shard |= msgspec.json.decode(outcome["stat"], type=dict[str, object])
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
        return msgspec.json.decode(answer["shards"], type=list[dict[str, str]])

    def close(self) -> Deferred[None]:
        """End all connections. Operations whose answer is still out fail.

        :return: a Deferred that fires when all connections are closed.
        """
        return succeed(None) if self._routing.closed else self._routing.close()

    # ------------------------------------------------------------------ inside

    def _operate(
        self, verb: str, key: Key, index: str | None, deadline: float | None, record: bytes = b"", size: int = 0
    ) -> Deferred[object]:
        try:
            text = key_bytes(key)
            name = self._index_name(index)
        except PyshardError:
            return fail()
        expires = self._clock.seconds() + self._seconds(deadline)
        return self._routing.submit(Operation(verb, name, text, slot_of(text, name.encode()), expires, record, size))

    def _index_name(self, index: str | None) -> str:
        return "" if index is None else check_index_name(index)

    def _seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline

    def _check_open(self) -> None:
        if self._routing.closed:
            raise ClientClosed("the client is closed; connect() gives a new one")

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


class Index:
    """One index of a cluster: the verbs of `Client`, with the index filled in."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def write(
        self, key: Key, doc: Document, *, if_absent: bool = False, deadline: float | None = None
    ) -> Deferred[int]:
        """See `Client.write`."""
        return self._client.write(key, doc, self.name, if_absent=if_absent, deadline=deadline)

    def read(self, key: Key, *, deadline: float | None = None) -> Deferred[Record | None]:
        """See `Client.read`."""
        return self._client.read(key, self.name, deadline=deadline)

    def pop(self, key: Key, *, deadline: float | None = None) -> Deferred[Record | None]:
        """See `Client.pop`."""
        return self._client.pop(key, self.name, deadline=deadline)

    def remove(self, key: Key, *, deadline: float | None = None) -> Deferred[int]:
        """See `Client.remove`."""
        return self._client.remove(key, self.name, deadline=deadline)

    def has(self, key: Key, *, deadline: float | None = None) -> Deferred[bool]:
        """See `Client.has`."""
        return self._client.has(key, self.name, deadline=deadline)

    def keys(self, *, deadline: float | None = None) -> KeyPages:
        """See `Client.keys`."""
        return self._client.keys(self.name, deadline=deadline)

    def create(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.create_index`."""
        return self._client.create_index(self.name, deadline=deadline)

    def drop(self, *, deadline: float | None = None) -> Deferred[None]:
        """See `Client.drop_index`."""
        return self._client.drop_index(self.name, deadline=deadline)


def connect(
    reactor: IReactorTime,
    bootstrap_server: Server | None = None,
    *,
    deadline: float = settings.DEADLINE,
    dial: Dial | None = None,
    random: Random | None = None,
) -> Deferred[Client]:
    """Connect to a cluster.

    :param reactor: the Twisted reactor that is to do the work.
    :param bootstrap_server: ``['host', port]``, ``'host:port'`` or a Twisted client endpoint string; default
        `settings.BOOTSTRAP_SERVER`.
    :param deadline: seconds that an operation may take, reconnects and retries included, unless it is given another.
    :param dial: makes the client endpoint of a host and port; default: TCP on the reactor.
    :param random: jitter of retries.
    :return: a Deferred of the client, fired when it has the cluster's map.
    :raises ConfigError: (in the Deferred) the address can't be used.
    :raises Unavailable: no bootstrap answered within the deadline.
    """
    dial = dial or addresses.dial_with(reactor)
    try:
        address = addresses.parse(settings.BOOTSTRAP_SERVER if bootstrap_server is None else bootstrap_server)
        endpoint = addresses.endpoint_of(reactor, address, dial)
    except PyshardError:
        return fail()
    routing = Routing(reactor, endpoint, str(address), dial, random or Random())
    client = Client(reactor, routing, deadline)
    return _started(client, routing, deadline)


@inlineCallbacks
def _started(client: Client, routing: Routing, deadline: float) -> Steps[Client]:
    try:
        yield routing.start(deadline)
    except PyshardError:
        yield routing.close()
        raise
    return client
