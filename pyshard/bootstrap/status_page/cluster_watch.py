"""Watches the cluster while somebody looks at the page: asks the shards how they fare, and tells what is known.

Rules:

- While nobody looks, no shard is asked for its figures, and there is no timer.
- A shard is asked again when it has answered, or its time is over. Nobody waits for another one's answer: once a second
  what is known then is told.
- Of the last minutes the operations a second are kept, in a ring.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pyshard.bootstrap.bootstrap import Bootstrap, Condition, ShardReadiness
from pyshard.bootstrap.group_driver import HeardReport
from pyshard.bootstrap.status_page.shard_figures import ShardFigures, read_figures
from pyshard.bootstrap.status_page.shown_cluster import (
    WatchedCluster,
    shown_cluster,
    shown_without_state,
    total_rate,
    watched_names,
)
from pyshard.bootstrap.status_page.shown_replicas import WatchedGroup
from pyshard.bootstrap.status_page.shown_shards import WatchedShard
from pyshard.bootstrap.status_page.shown_state_store import WatchedStateStore, state_store_of
from pyshard.errors import BadRequest, Unavailable
from pyshard.model.shard_map import MapShard
from pyshard.protocol.listed_moves import ListedMove

#: Seconds between two questions, and for which answers are waited for before what is known is told.
EVERY, ANSWERED_WITHIN = 1.0, 0.3

#: Answers of a shard that are kept: operations a second are those over them.
KEPT_ANSWERS = 4

#: Seconds whose operations a second are kept.
KEPT_SECONDS = 300


class _Asked:
    """A shard at an address: whether it is asked just now, its last answers, and what was wrong with the last one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asking = False
        self.answers: deque[ShardFigures] = deque(maxlen=KEPT_ANSWERS)
        self.error = ""


class ClusterWatch:
    """Watches while it is wanted.

    :param bootstrap: has the state.
    :param clock: the reactor.
    :param ask: asks a shard for its `stat`, by its name.
    :param moves: gives all moves, those that ended of late included.
    :param reports: gives what each replica of a shard said last, by the shard's name; see `GroupDriver.reports`.
    :param tell: is called once a second with the JSON of `shown_cluster`.
    :param wanted: whether somebody looks; else the watch ends.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        clock: IReactorTime,
        ask: Callable[[str], Deferred[bytes]],
        moves: Callable[[], Sequence[ListedMove]],
        reports: Callable[[str], Mapping[str, HeardReport]],
        tell: Callable[[bytes], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._ask_stat = ask
        self._moves = moves
        self._reports = reports
        self._tell_all = tell
        self._wanted = wanted
        self._shards: dict[str, _Asked] = {}
        self._rates: deque[tuple[float, float]] = deque(maxlen=int(KEPT_SECONDS / EVERY))
        self._since = clock.seconds()
        self._watches = False

    def begin(self) -> bytes:
        """Watch, unless that goes on already; what is known now, as JSON."""
        if not self._watches:
            self._watches, self._since, self._shards = True, self._clock.seconds(), {}
            self._clock.callLater(0, self._ask_all)
        return _as_json(self._known())

    # ------------------------------------------------------------------ inside

    def _readiness(self) -> dict[str, ShardReadiness]:
        """How the bootstrap sees each shard, by name."""
        return {shard.name: shard for shard in self._bootstrap.readiness()}

    def _asked(self, name: str) -> tuple[MapShard, _Asked]:
        """A shard of the map, and its answers. Those of another primary count no more: it counts by itself."""
        own, asked = self._bootstrap.state.map.named(name), self._shards.get(name)
        assert own is not None, "it is of the map"
        return own, _Asked(own.address) if asked is None or asked.address != own.address else asked

    def _known(self) -> WatchedCluster | WatchedStateStore:
        """What is known of the cluster; of its state store alone, if the bootstrap has no cluster state yet."""
        store = state_store_of(self._bootstrap)
        if not self._bootstrap.has_state:
            return store
        state, now, readiness = self._bootstrap.state, self._clock.seconds(), self._readiness()
        ready = _ready(readiness)
        shards = []
        for name in watched_names(state, ready):
            own, asked = self._asked(name)
            answers = asked.answers
            shards.append(
                WatchedShard(
                    own,
                    readiness[name],
                    answers[-1] if answers else None,
                    answers[0] if len(answers) > 1 else None,
                    asked.error,
                    replicas=None if own.group is None else WatchedGroup(own.group, self._reports(name)),
                )
            )
        while self._rates and now - self._rates[0][0] > KEPT_SECONDS:
            self._rates.popleft()
        return WatchedCluster(state, store, shards, len(ready), self._moves(), tuple(self._rates), now, self._since)

    def _ask_all(self) -> None:
        if not self._wanted():
            self._watches = False
            return
        self._clock.callLater(EVERY, self._ask_all)
        ready = _ready(self._readiness())
        names = watched_names(self._bootstrap.state, ready) if self._bootstrap.has_state else []
        self._shards = {name: self._asked(name)[1] for name in names}
        for name, asked in self._shards.items():
            if not asked.asking and name in ready:
                asked.asking = True
                self._ask_stat(name).addCallback(read_figures, self._clock.seconds()).addBoth(self._answered, asked)
        self._clock.callLater(ANSWERED_WITHIN, self._tell)

    def _answered(self, outcome: ShardFigures | Failure, asked: _Asked) -> None:
        asked.asking = False
        if isinstance(outcome, ShardFigures):
            asked.error = ""
            if asked.answers:
                asked.answers[-1] = asked.answers[-1].without_names()  # as a shard may tell of many, and at length
            asked.answers.append(outcome)
        else:
            outcome.trap(Unavailable, BadRequest)
            asked.error = outcome.getErrorMessage()

    def _tell(self) -> None:
        known = self._known()
        if isinstance(known, WatchedCluster) and (rate := total_rate(known.shards, known.now)) is not None:
            self._rates.append((known.now, rate))
            known = attrs.evolve(known, rates=tuple(self._rates))
        self._tell_all(_as_json(known))


def _ready(readiness: Mapping[str, ShardReadiness]) -> set[str]:
    return {name for name, known in readiness.items() if known.condition is Condition.READY}


def _as_json(known: WatchedCluster | WatchedStateStore) -> bytes:
    shown = shown_without_state(known) if isinstance(known, WatchedStateStore) else shown_cluster(known)
    return msgspec.json.encode(shown)
