"""The verbs about a whole index or the cluster: counts, indexes, how the shards fare, how ready they are.

Rules:

- Indexes are the bootstrap's. The client takes up its map after a change.
- `stat` asks every shard, some hundred at a time. One that can't be reached has its error in place of its figures.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pyshard.client.key_pages import next_answer
from pyshard.client.router import Router
from pyshard.client.shard_link import ShardLink
from pyshard.client_core.argument_checks import deadline_seconds
from pyshard.client_core.cluster_answers import (
    ASKED_AT_ONCE,
    readiness_of,
    seconds_each,
    stat_of,
    stat_of_all,
)
from pyshard.client_core.document_count import DocumentCount
from pyshard.client_core.everyday_verbs import Location, location
from pyshard.errors import PyshardError
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import check_index_name
from pyshard.model.key_slots import Key, key_bytes
from pyshard.protocol import commands


class ClusterVerbs:
    """The verbs of `Client` about the cluster as a whole.

    :param clock: times the deadlines.
    :param router: leads to the bootstrap and to the shards.
    :param deadline: seconds that a verb may take where it is given none.
    :param default_index: the name of the index that a verb means where it is given none; empty: the default index.
    """

    def __init__(self, clock: IReactorTime, router: Router, deadline: float, default_index: str = "") -> None:
        self._clock = clock
        self._router = router
        self._deadline = deadline
        self._default_index = default_index

    def create_index(self, name: str, *, deadline: float | None = None) -> Deferred[None]:
        """Create an index; every shard in reach that answers in time has it when the Deferred fires.

        :raises IndexExists: (in the Deferred) there is one of that name.
        """
        return Deferred.fromCoroutine(self._change_indexes(commands.CreateIndex, name, deadline))

    def drop_index(self, name: str, *, deadline: float | None = None) -> Deferred[None]:
        """Drop an index with all its documents.

        :raises IndexNotFound: (in the Deferred) there is none of that name.
        """
        return Deferred.fromCoroutine(self._change_indexes(commands.DropIndex, name, deadline))

    def indexes(self, *, deadline: float | None = None) -> Deferred[list[str]]:
        """The names of all indexes but the default one.

        :return: a Deferred of the sorted names, as the bootstrap has them.
        """
        return Deferred.fromCoroutine(self._indexes(deadline))

    def stat(self, *, deadline: float | None = None) -> Deferred[dict[str, object]]:
        """How the cluster fares.

        :return: a Deferred of ``{'cluster': id, 'epoch': …, 'indexes': [names], 'shards': [one dict a shard]}``.
            A shard's dict has name, address, ranges, limit, and: id, epoch, documents, bytes, histogram, connections,
            operations, uptime, ephemeral, compiled (docs/protocol.md, "Stat"); a shard that can't be reached has
            ``error``, the reason, in place of the latter.
        """
        return Deferred.fromCoroutine(self._stat(deadline))

    def readiness(self, *, deadline: float | None = None) -> Deferred[list[dict[str, str]]]:
        """How ready each shard is, as the bootstrap sees it.

        :return: a Deferred of one dict a shard: name, address, state ("ready", "unreachable" or "refused") and detail,
            which says why it isn't ready.
        """
        return Deferred.fromCoroutine(self._readiness(deadline))

    def count(self, index: str | None = None, *, deadline: float | None = None) -> Deferred[int]:
        """How many documents an index has, over all shards.

        :return: a Deferred of the number. One that has expired counts until its shard has swept it away, for some
            seconds at the most.
        :raises Unavailable: (in the Deferred) a shard can't be reached.
        """
        return Deferred.fromCoroutine(self._count(index, deadline))

    def locate(self, key: Key, index: str | None = None) -> Location:
        """Where a key is, by the map that the client has; nothing is asked.

        :return: its hash, its slot, and the shard that owns it.
        :raises InvalidKey, InvalidIndexName:
        """
        return location(self._router.state, key_bytes(key), self._index_name(index))

    def _seconds(self, deadline: float | None) -> float:
        """The deadline that counts: the one that a verb was given, else the client's own.

        :raises InvalidArgument: it was given one that is none.
        """
        return self._deadline if deadline is None else deadline_seconds(deadline)

    def _index_name(self, index: str | None) -> str:
        return self._default_index if index is None else check_index_name(index)

    async def _count(self, index: str | None, deadline: float | None) -> int:
        seconds = self._seconds(deadline)
        end = self._clock.seconds() + seconds
        count = DocumentCount(self._index_name(index))
        while not count.ended:
            await next_answer(self._clock, self._router, count, seconds, end)
        return count.documents

    async def _indexes(self, deadline: float | None) -> list[str]:
        router, seconds = self._router, self._seconds(deadline)
        router.check_open()
        answer = await router.bootstrap.call(commands.GetMap, seconds)
        router.adopt(cluster_state_json.from_json(answer["state"]))
        return sorted(cluster_state_json.from_json(answer["state"]).indexes)

    async def _change_indexes(
        self,
        command: type[commands.CreateIndex] | type[commands.DropIndex],
        name: str,
        deadline: float | None,
    ) -> None:
        router, seconds = self._router, self._seconds(deadline)
        router.check_open()
        name = check_index_name(name)
        bootstrap, end = router.bootstrap, self._clock.seconds() + seconds
        await bootstrap.call(command, seconds, changes=True, name=name)
        try:
            answer = await bootstrap.call(commands.GetMap, max(0.0, end - self._clock.seconds()))
        except PyshardError:
            return  # the change is done all the same; a map without it is found out when the index is used
        router.adopt(cluster_state_json.from_json(answer["state"]))

    async def _stat(self, deadline: float | None) -> dict[str, object]:
        router, seconds = self._router, self._seconds(deadline)
        router.check_open()
        state = router.state
        places = DeferredSemaphore(ASKED_AT_ONCE)
        each = seconds_each(seconds, len(state.map.shards))
        asked = [places.run(_ask_for_stat, link, each) for link in router.links]
        outcomes = await DeferredList(asked, consumeErrors=True)
        shards = [stat_of(own, _given(outcome)) for own, (_, outcome) in zip(state.map.shards, outcomes, strict=True)]
        return stat_of_all(state, shards)

    async def _readiness(self, deadline: float | None) -> list[dict[str, str]]:
        router, seconds = self._router, self._seconds(deadline)
        router.check_open()
        answer = await router.bootstrap.call(commands.Readiness, seconds)
        return readiness_of(answer["shards"])


def _ask_for_stat(link: ShardLink, seconds: float) -> Deferred[dict[str, bytes]]:
    """Ask a shard for its statistics. One that gave none keeps no connection from the next ones."""

    def failed(failure: Failure) -> Failure:
        if not link.wants_connection():
            link.dialer.hang_up()
        return failure

    asked: Deferred[dict[str, bytes]] = link.rpc.call(commands.Stat, seconds)
    return asked.addErrback(failed)


def _given(outcome: dict[str, bytes] | Failure) -> bytes | str:
    return outcome.getErrorMessage() if isinstance(outcome, Failure) else outcome["stat"]
