"""The blocking verbs about a whole index or the cluster: keys, indexes, how the shards fare.

Rules:

- Indexes are the bootstrap's. The client takes up its map after a change.
- `stat` asks all shards at once. One that can't be reached has its error in place of its figures.
- A page of keys has a deadline of its own. A shard that can't be reached is an error, never a gap.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyshard.blocking.cluster import BlockingCluster
from pyshard.blocking.thread_tasks import run, together
from pyshard.client_core.cluster_answers import readiness_of, stat_of, stat_of_all
from pyshard.client_core.everyday_verbs import Location, location, next_count, uncounted
from pyshard.client_core.key_cursor import KeyCursor, key_texts
from pyshard.errors import (
    ClientClosed,
    IndexNotFound,
    NotConfigured,
    PyshardError,
    ShardBehind,
    ShuttingDown,
    Unavailable,
    WrongShard,
)
from pyshard.model import cluster_state
from pyshard.model.cluster_state import check_index_name
from pyshard.model.key_slots import SLOTS, Key, key_bytes
from pyshard.protocol import commands

_PAUSE = 0.1  # seconds until a page is asked for again


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
        cluster = self._cluster()
        answer = cluster.servers.call(commands.GetMap, self._seconds(deadline))
        state = cluster_state.from_json(answer["state"])
        cluster.adopt(state)
        return sorted(state.indexes)

    def stat(self, *, deadline: float | None = None) -> dict[str, object]:
        """How the cluster fares. See `pyshard.Client.stat`."""
        cluster = self._cluster()
        view, seconds = cluster.view, self._seconds(deadline)
        outcomes = together(cluster.network, [pool.call(commands.Stat, seconds) for pool in view.pools])
        shards = [
            stat_of(own, str(outcome) if isinstance(outcome, Exception) else outcome["stat"])
            for own, outcome in zip(view.state.map.ranges, outcomes, strict=True)
        ]
        return stat_of_all(view.state, shards)

    def readiness(self, *, deadline: float | None = None) -> list[dict[str, str]]:
        """How ready each shard is, as the bootstrap sees it. See `pyshard.Client.readiness`."""
        answer = self._cluster().servers.call(commands.Readiness, self._seconds(deadline))
        return readiness_of(answer["shards"])

    def count(self, index: str | None = None, *, deadline: float | None = None) -> int:
        """How many documents an index has. See `pyshard.Client.count`."""
        return self._count(self._index_name(index), self._seconds(deadline))

    def locate(self, key: Key, index: str | None = None) -> Location:
        """Where a key is, by the client's map. See `pyshard.Client.locate`."""
        return location(self._cluster().state, key_bytes(key), self._index_name(index))

    # ------------------------------------------------------------------ what `Pyshard` has

    def _cluster(self) -> BlockingCluster:
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
            cluster = self._cluster()
            cursor = KeyCursor(name)
            while page := _next_page(cluster, cursor, seconds):
                yield page
                if self._cluster() is not cluster:
                    raise ClientClosed("this scan belongs to the process that was forked; begin a new one")

        return scan()

    def _count(self, index: str, seconds: float) -> int:
        """How many documents an index has, over all shards."""
        cluster = self._cluster()
        network = cluster.network
        end = network.now() + seconds
        slot, documents = 0, 0
        missing_since: float | None = None
        while slot < SLOTS:
            cluster.check_open()
            began = network.now()
            question = {"epoch": cluster.state.epoch, "index": index, "slot": slot}
            counting = cluster.pool_for(slot).call(commands.Count, max(0.0, end - began), False, **question)
            try:
                slot, documents = next_count(slot, documents, run(network, counting))
            except (WrongShard, NotConfigured, ShardBehind, ShuttingDown, IndexNotFound) as error:
                if isinstance(error, IndexNotFound):
                    missing_since = began if missing_since is None else missing_since
                    if cluster.index_missing(index, missing_since):
                        raise
                if network.now() + _PAUSE >= end:
                    raise uncounted(seconds, error) from None
                cluster.refresh(end)
                network.sleep(network.now() + _PAUSE)
        return documents

    def _index_name(self, index: str | None) -> str:
        return self._default_index if index is None else check_index_name(index)

    def _change_indexes(
        self, command: type[commands.CreateIndex] | type[commands.DropIndex], name: str, seconds: float
    ) -> None:
        name = check_index_name(name)
        cluster = self._cluster()
        end = cluster.network.now() + seconds
        cluster.servers.call(command, seconds, changes=True, name=name)
        try:
            answer = cluster.servers.call(commands.GetMap, max(0.0, end - cluster.network.now()))
        except PyshardError:
            return  # the change is done all the same; a map without it is found out when the index is used
        cluster.adopt(cluster_state.from_json(answer["state"]))


def _next_page(cluster: BlockingCluster, cursor: KeyCursor, seconds: float) -> list[str]:
    """The next keys; none at the end.

    :raises IndexNotFound: there is no such index.
    :raises Unavailable: the shard whose keys come next can't be reached.
    """
    network = cluster.network
    end = network.now() + seconds
    keys: list[bytes] = []
    missing_since: float | None = None
    while not cursor.ended and not keys:
        cluster.check_open()
        began = network.now()
        pool = cluster.pool_for(cursor.slot)
        question = cursor.question(cluster.state.epoch)
        try:
            keys = cursor.take(run(network, pool.call(commands.Keys, max(0.0, end - began), False, **question)))
        except (WrongShard, NotConfigured, ShardBehind, ShuttingDown, IndexNotFound) as error:
            if isinstance(error, IndexNotFound):
                missing_since = began if missing_since is None else missing_since
                if cluster.index_missing(cursor.index, missing_since):
                    raise
            if network.now() + _PAUSE >= end:
                raise Unavailable(f"no page of keys could be had within {seconds:g} s: {error}") from None
            cluster.refresh(end)
            network.sleep(network.now() + _PAUSE)
    return key_texts(keys)
