"""Asks the replicas of shards how they are, and changes their groups in the cluster's state as they want it.

Rules:

- what becomes of a group, `pyshard.replication.group_decision` says; whether it does, the state store;
- a group has one change at a time, and is asked anew after it: what was said of another group counts no more;
- all replicas of a group are asked at once, and those that don't answer in time have said nothing;
- a replica that came to hold another copy of its store says so in its report. The group learns it, too;
- how often a group may change so is bounded (`pyshard.bootstrap.group_paces`);
- while the primary is silent, learners' other copies are passed over: nobody can bring them on, and each would be a new
  ballot, under which the members wait anew before one of them leads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.group_paces import ChangePace, GroupPace
from pyshard.bootstrap.repeated_questions import Question, RepeatedQuestions
from pyshard.errors import PyshardError
from pyshard.metrics.line_pace import LinePace
from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_decision import PrimaryAbsence, counts, leads, next_group
from pyshard.replication.wishes import ReplicaReport
from pyshard.settings import settings

_EVERY = 0.1  # seconds between two questions


class AskedReplica(Protocol):
    """What asks one replica."""

    def ask_replica(self) -> Deferred[ReplicaReport | None]:
        """What it says of itself; None: it can't be asked now, or didn't answer in time. It doesn't fail."""
        ...


@attrs.frozen
class HeardReport:
    """What a replica said of itself last.

    :param report: that.
    :param at: when, by the clock of who asked.
    :param answers: whether it answered when it was asked last.
    """

    report: ReplicaReport
    at: float
    answers: bool


class GroupDriver(Service):
    """Brings on the groups of one cluster, while it runs.

    :param bootstrap: has the state.
    :param clock: times questions.
    :param find: gives what asks the replica of a shard at an address; None: it isn't there any more.
    """

    _log = Logger()

    def __init__(
        self, bootstrap: Bootstrap, clock: IReactorTime, find: Callable[[str, str], AskedReplica | None]
    ) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._find = find
        self._heard: dict[str, dict[str, HeardReport]] = {}  # by shard and address
        self._paces: dict[str, GroupPace] = {}  # by shard
        self._absences: dict[str, PrimaryAbsence] = {}  # by shard, of its primary
        self._pace = LinePace(settings.SHARD_LINES)
        self._questions = RepeatedQuestions(clock, _EVERY, self._due, self._failed)
        bootstrap.on_change(self._state_changed)

    def reports(self, name: str) -> dict[str, HeardReport]:
        """Address → what each replica of a shard said last."""
        return self._heard.get(name, {})

    async def ask(self, name: str, group: ReplicaGroup) -> dict[str, ReplicaReport]:
        """Address → what each replica of a shard says now; of those that give no answer nothing."""
        addresses = [replica.address for replica in group.replicas]
        answers = await gatherResults([self._ask(name, address) for address in addresses])
        reports = {address: report for address, report in zip(addresses, answers, strict=True) if report is not None}
        now, before = self._clock.seconds(), self._heard.get(name, {})
        answered = {address: HeardReport(report, now, True) for address, report in reports.items()}
        silent = {
            address: attrs.evolve(before[address], answers=False)
            for address in addresses
            if address not in reports and address in before
        }
        self._heard[name] = silent | answered
        return reports

    async def bring_on(self, name: str) -> None:
        """Ask the replicas of a shard how they are, and change their group as they want it."""
        shard = self._bootstrap.state.map.named(name)
        if shard is not None and shard.group is not None:
            await self._bring_on(name, shard.group)

    def startService(self) -> None:
        """Begin, if a shard has replicas."""
        super().startService()
        self._questions.start()

    def stopService(self) -> None:
        """Ask nobody any more."""
        super().stopService()
        self._questions.stop()

    # ------------------------------------------------------------------ inside

    def _due(self) -> dict[str, Question]:
        """The shards that have replicas, and what asks these."""
        if not self._bootstrap.has_state:
            return {}
        shards = self._bootstrap.state.map.shards
        return {shard.name: partial(self._bring_on, shard.name, shard.group) for shard in shards if shard.group}

    def _state_changed(self) -> None:
        names = self._due().keys()
        self._heard = {name: heard for name, heard in self._heard.items() if name in names}
        self._paces = {name: pace for name, pace in self._paces.items() if name in names}
        self._absences = {name: absence for name, absence in self._absences.items() if name in names}
        self._questions.wake()

    async def _bring_on(self, name: str, group: ReplicaGroup) -> None:
        asked = self._clock.seconds()
        reports = await self.ask(name, group)
        if not self.running:
            return
        pace, now, held = self._paces.setdefault(name, GroupPace()), self._clock.seconds(), False
        absence = self._absences.setdefault(name, PrimaryAbsence())
        absent = absence.note(group, leads(group, reports), asked, now)
        leading = reports.get(group.primary)
        is_led = leading is not None and counts(group, group.primary, leading)
        for address, report in reports.items():
            if not is_led and address not in group.members:
                continue
            seen = with_seen_stores(group, {address: report})
            if seen is not group and (pace.of_stores(address).admits(now) or seen.members < group.members):
                await self._change(name, group, seen, pace.of_stores(address))
                return
            held = held or seen is not group
        wanted = next_group(group, reports, absent)
        if wanted is not None and (pace.others.admits(now) or wanted.members < group.members):
            await self._change(name, group, wanted, pace.others)
        elif held or wanted is not None:
            self._warn(f"the replicas of shard {name!r} want its group changed all the time: the next change waits")

    def _ask(self, name: str, address: str) -> Deferred[ReplicaReport | None]:
        replica = self._find(name, address)
        if replica is None:
            return succeed(None)
        return replica.ask_replica()

    async def _change(self, name: str, group: ReplicaGroup, wanted: ReplicaGroup, pace: ChangePace) -> None:
        """Change a group, if it is still the one whose replicas were asked."""
        made = False

        def decide(state: ClusterState) -> ClusterState:
            nonlocal made
            shard = state.map.named(name)
            made = bool(self.running) and shard is not None and shard.group == group
            return state.with_group(name, wanted) if made else state

        await self._bootstrap.change(decide)
        if made:
            pace.count()
            self._log.info(
                "shard {shard}: ballot {ballot}, primary {primary}, members {members}, learners {learners}",
                shard=name,
                ballot=wanted.ballot,
                primary=wanted.primary,
                members=", ".join(sorted(wanted.members)),
                learners=", ".join(wanted.learners) or "none",
            )

    def _failed(self, failure: Failure) -> None:
        failure.trap(PyshardError)
        self._warn(f"a group of replicas waits: {failure.getErrorMessage()}")

    def _warn(self, why: str) -> None:
        """Log a line, unless there were many of late: everything is tried again soon."""
        more = self._pace.ending(self._clock.seconds())
        if more is not None:
            self._log.warn("{why}{more}", why=why, more=more)


def with_seen_stores(group: ReplicaGroup, reports: dict[str, ReplicaReport]) -> ReplicaGroup:
    """The group when replicas have begun to hold other copies, under the identities that they have. Pure."""
    for address, report in reports.items():
        place = group.at(address)
        if place is not None and place.store is not None and place.store.identity == report.identity:
            changed = group.with_store(address, StoreId(report.identity, report.incarnation), report.durable)
            if changed is not group:
                return changed
    return group
