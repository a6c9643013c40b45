"""The blocking verbs about a whole index or the cluster: keys, indexes, how the shards fare.

Rules:

- Indexes are the bootstrap's. The client takes up its map after a change.
- `stat` asks all shards, some hundred at a time. One that can't be reached has its error in place of its figures.
- A shard that can't be reached is looked for by a newer map: it may be at another address, or be another store.
- A page of keys has a deadline of its own. A shard that can't be reached is an error, never a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pyshard.blocking.calling_thread_tasks import Steps, run, together
from pyshard.blocking.cluster import BlockingCluster
from pyshard.blocking.connection_pool import NotSent
from pyshard.blocking.interrupted_change import tell_doubt
from pyshard.blocking.shard_pool import ShardPool
from pyshard.client_core.cluster_answers import (
    ASKED_AT_ONCE,
    readiness_of,
    seconds_each,
    stat_of,
    stat_of_all,
)
from pyshard.client_core.document_count import DocumentCount
from pyshard.client_core.everyday_verbs import Location, location
from pyshard.client_core.key_cursor import KeyCursor, key_texts
from pyshard.client_core.retried_index_walk import FOR_NOW, Refusals, Walk
from pyshard.errors import ClientClosed, Overloaded, PyshardError
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import check_index_name
from pyshard.model.key_slots import Key, key_bytes
from pyshard.protocol import commands

_T = TypeVar("_T")


class ClusterCalls:
    """The verbs of `Pyshard` about a whole index or the cluster."""

    #: The name of the index that a verb means where it is given none; empty: the default index.
    _default_index: str

    def keys(self, index: str | None = None, *, deadline: float | None = None) -> Iterator[str]:
        """All keys of an index, in slot order, fetched page by page. See `pyshard.Client.keys`."""
        pages = self._key_pages(index, deadline)

        def scan() -> Iterator[str]:
            for page in pages:
                yield from page

        return scan()

    def create_index(self, name: str, *, deadline: float | None = None) -> None:
        """Create an index. See `pyshard.Client.create_index`."""
        self._change_indexes(commands.CreateIndex, name, self._seconds(deadline))

    def drop_index(self, name: str, *, deadline: float | None = None) -> None:
        """Drop an index with all its documents. See `pyshard.Client.drop_index`."""
        self._change_indexes(commands.DropIndex, name, self._seconds(deadline))

    def indexes(self, *, deadline: float | None = None) -> list[str]:
        """The names of all indexes but the default one. See `pyshard.Client.indexes`."""
        seconds = self._seconds(deadline)
        cluster, until = self._begun(seconds)
        answer = cluster.servers.call(commands.GetMap, until, seconds)
        state = cluster_state_json.from_json(answer["state"])
        cluster.adopt(state)
        return sorted(state.indexes)

    def stat(self, *, deadline: float | None = None) -> dict[str, object]:
        """How the cluster fares. See `pyshard.Client.stat`."""
        seconds = self._seconds(deadline)
        cluster, until = self._begun(seconds)
        pools, network = cluster.view.pools, cluster.network
        each = seconds_each(seconds, len(pools))

        def ask(pool: ShardPool) -> Steps[dict[str, bytes]]:
            end = min(until, network.now() + each)
            return (yield from pool.call(commands.Stat, end, each, unreached=cluster.refreshing))

        calls = [ask(pool) for pool in pools]
        shards = [
            stat_of(pool.own, str(outcome) if isinstance(outcome, Exception) else outcome["stat"])
            for pool, outcome in zip(pools, run(network, together(network, calls, most=ASKED_AT_ONCE)), strict=True)
        ]
        return stat_of_all(cluster.state, shards)

    def readiness(self, *, deadline: float | None = None) -> list[dict[str, str]]:
        """How ready each shard is, as the bootstrap sees it. See `pyshard.Client.readiness`."""
        seconds = self._seconds(deadline)
        cluster, until = self._begun(seconds)
        answer = cluster.servers.call(commands.Readiness, until, seconds)
        return readiness_of(answer["shards"])

    def count(self, index: str | None = None, *, deadline: float | None = None) -> int:
        """How many documents an index has. See `pyshard.Client.count`."""
        return self._count(self._index_name(index), self._seconds(deadline))

    def locate(self, key: Key, index: str | None = None) -> Location:
        """Where a key is, by the client's map. See `pyshard.Client.locate`."""
        return location(self._cluster().state, key_bytes(key), self._index_name(index))

    # ------------------------------------------------------------------ what `Pyshard` has

    def _cluster(self, seconds: float | None = None) -> BlockingCluster:
        """The cluster as this process reaches it, made at the first call.

        :param seconds: how long that may take; None: the client's own deadline.
        """
        raise NotImplementedError

    def _begun(self, seconds: float) -> tuple[BlockingCluster, float]:
        """The cluster, and when a call must have ended that has these seconds from now, connecting included."""
        raise NotImplementedError

    def _seconds(self, deadline: float | None) -> float:
        raise NotImplementedError

    def _key_pages(self, index: str | None, deadline: float | None) -> Iterator[list[str]]:
        """The pages of keys of an index, none of them empty.

        :raises InvalidIndexName: at once.
        """
        name = self._index_name(index)
        seconds = self._seconds(deadline)

        def scan() -> Iterator[list[str]]:
            cluster, end = self._begun(seconds)
            cursor = KeyCursor(name)
            while page := _next_page(cluster, cursor, seconds, end):
                yield page
                if self._cluster(seconds) is not cluster:
                    raise ClientClosed("this scan belongs to the process that was forked; begin a new one")
                end = cluster.network.now() + seconds

        return scan()

    def _count(self, index: str, seconds: float) -> int:
        """How many documents an index has, over all shards."""
        cluster, end = self._begun(seconds)
        count = DocumentCount(index)
        while not count.ended:
            _next_answer(cluster, count, seconds, end)
        return count.documents

    def _index_name(self, index: str | None) -> str:
        return self._default_index if index is None else check_index_name(index)

    def _change_indexes(
        self, command: type[commands.CreateIndex] | type[commands.DropIndex], name: str, seconds: float
    ) -> None:
        name = check_index_name(name)
        cluster, end = self._begun(seconds)
        try:
            cluster.servers.call(command, end, seconds, changes=True, name=name)
            try:
                answer = cluster.servers.call(commands.GetMap, end, seconds)
            except PyshardError:
                return  # the change is done all the same; a map without it is found out when the index is used
            cluster.adopt(cluster_state_json.from_json(answer["state"]))
        except BaseException as error:
            tell_doubt(
                error, f"{command.commandName.decode()} of index {name!r} was begun, but this call was interrupted"
            )
            raise


def _next_page(cluster: BlockingCluster, cursor: KeyCursor, seconds: float, end: float) -> list[str]:
    """The next keys; none at the end.

    :raises IndexNotFound: there is no such index.
    :raises Unavailable: the shard whose keys come next can't be reached.
    """
    keys: list[bytes] = []
    while not cursor.ended and not keys:
        keys = _next_answer(cluster, cursor, seconds, end)
    return key_texts(keys)


def _next_answer(cluster: BlockingCluster, walk: Walk[_T], seconds: float, end: float) -> _T:
    """What the next shard of a walk answers, asked again by newer maps where it must be."""
    network = cluster.network
    refusals = Refusals(walk, seconds, end)
    refused: PyshardError | None = None
    while True:
        cluster.check_open()
        asked, state = network.now(), cluster.state
        own, pool, question = state.map.lookup(walk.slot), cluster.pool_for(walk.slot), walk.question(state.epoch)
        try:
            answer = run(network, pool.attempt(walk.command, end, seconds, False, question))
            walk.took(own, network.now() - asked)
            return walk.take(answer, own)
        except FOR_NOW as error:
            refusals.refused(error, asked, network.now(), cluster.fetched, cluster.state.indexes)
            refused = error
        except NotSent:
            if network.now() >= end:
                raise pool.gave_no_answer(seconds) from None
            network.sleep(min(end, pool.rested()))
            refused = None
        if not isinstance(refused, Overloaded):
            cluster.refresh(end)
        if refused is not None:
            refusals.check_time(refused, network.now())
        network.sleep(min(end, network.now() + refusals.pause))
