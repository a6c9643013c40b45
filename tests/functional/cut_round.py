"""A round of recorded histories beside which the network is cut, once, and healed a while later.

The clients are two programs, each on a machine of its own. A pulse of writes from one more machine, which isn't cut,
tells when the shard takes changes. Somebody else reads one key all the time: it changes once while the network is cut,
and no later read may give the former value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

import attrs
from functional.cluster import PATIENCE, until
from functional.history_processes import HistoryProcess
from functional.history_program import Order
from functional.networked_cluster import BOOTSTRAPS, CLIENTS, ETCD, REPLICAS, NetworkedCluster
from functional.pulse import Pulse
from functional.steady_reader import SteadyReader
from histories import Recorder, Tally
from history_calls import BULK, SINGLE, Call

from pyshard import Pyshard
from pyshard.errors import OutcomeUnknown
from pyshard.model.replica_group import MEMBER, PRIMARY

#: Seconds within which something must go on that is to go on: far more than it takes, for machines that are busy.
SOON = 20.0

#: The ways that can be cut at one end: what that end sends, what it is sent, or both.
OUTGOING, INCOMING, BOTH = "outgoing", "incoming", "both"

_BEFORE, _AFTER = 1.5, 6.0  # seconds of load
_KEYS = 10  # of each index
_ROUND = 1  # the number of the only one; numbers of calls are made of it

_CHANGED, _READS = "changed", 20  # a key, and how many reads of it are looked at when it has changed

_INDEX_VERBS = ("create_index", "drop_index", "indexes")  # each bootstrap has its own list for a while


@attrs.frozen
class Cut:
    """What is cut from what.

    :ivar ends: the machines at the one end, by what the cluster is like.
    :ivar others: those at the other end.
    :ivar writes: whether the shard takes changes while it is cut.
    :ivar leads: whether the primary goes on to lead; None: as it comes.
    :ivar load: whether the programs can read and write while it is cut.
    :ivar least: see ``min_replicas`` of the config; None: its default.
    :ivar kills: whether the primary is killed meanwhile, and started again when the network is healed.
    """

    ends: Callable[[NetworkedCluster], Sequence[str]]
    others: Callable[[NetworkedCluster], Sequence[str]]
    writes: bool = True
    leads: bool | None = None
    load: bool | None = None
    least: int | None = None
    kills: bool = False


def _primary(cluster: NetworkedCluster) -> list[str]:
    return [cluster.primary().name]


def _members(cluster: NetworkedCluster) -> list[str]:
    return [each.name for each in cluster.members()]


def _all_but_clients(cluster: NetworkedCluster) -> list[str]:
    return [*_members(cluster), *BOOTSTRAPS, *ETCD]


CUTS = {
    "one member": Cut(_primary, lambda cluster: _members(cluster)[:1]),
    "all members": Cut(_primary, _members, writes=False),
    "all members, one is enough": Cut(_primary, _members, least=1),
    "one bootstrap": Cut(_primary, lambda _: BOOTSTRAPS[:1], leads=True),
    "both bootstraps": Cut(_primary, lambda _: BOOTSTRAPS, leads=True),
    "one bootstrap from etcd": Cut(lambda _: BOOTSTRAPS[:1], lambda _: ETCD, leads=True),
    "one bootstrap from etcd, with a failover": Cut(lambda _: BOOTSTRAPS[:1], lambda _: ETCD, leads=False, kills=True),
    "both bootstraps from etcd": Cut(lambda _: BOOTSTRAPS, lambda _: ETCD, leads=True),
    "both bootstraps from etcd, with a loss": Cut(lambda _: BOOTSTRAPS, lambda _: ETCD, writes=False, kills=True),
    "clients": Cut(_primary, lambda _: CLIENTS, load=False),
    "all but clients": Cut(_primary, _all_but_clients),
    "everything": Cut(_primary, lambda cluster: [*_all_but_clients(cluster), *CLIENTS]),
}


@attrs.define
class CutTimes:
    """Seconds.

    :ivar first_write: from the cut to the first acknowledged write that began behind it; None: there was none.
    :ivar stood_still: the longest time without an acknowledged write.
    :ivar load: from the healing to the first acknowledged change of the programs that began behind it.
    :ivar whole: from the healing until all replicas were members again.
    """

    first_write: float | None = None
    stood_still: float = 0.0
    load: float = 0.0
    whole: float = 0.0

    def __str__(self) -> str:
        first = "none" if self.first_write is None else f"after {self.first_write:.2f} s"
        return (
            f"first write {first}, stood still for {self.stood_still:.2f} s; after the healing load went on after "
            f"{self.load:.2f} s, whole after {self.whole:.2f} s"
        )


class CutRound:
    """One round.

    :param cluster: is whole.
    :param cut: what is cut.
    :param way: `OUTGOING`, `INCOMING` or `BOTH`, as the one end sees it.
    :param seconds: for which it is cut at the least.
    """

    def __init__(self, cluster: NetworkedCluster, cut: Cut, way: str, seconds: float, seed: int) -> None:
        self.cluster = cluster
        self.cut = cut
        self.way = way
        self.seconds = seconds
        self.times = CutTimes()
        self.programs: list[HistoryProcess] = []
        self._seed = seed
        self._recorder = Recorder([f"key {number}" for number in range(_KEYS)], Random(seed), time.monotonic_ns)

    def run(self) -> Tally:
        """Run it, and check what came of it."""
        cluster, network = self.cluster, self.cluster.network
        for number, face in enumerate(CLIENTS, 1):
            machine = network.machines[face]
            self.programs.append(HistoryProcess(cluster, face, cluster.server, self._seed, number, machine))
        for program in self.programs:
            program.wait()
        end = time.monotonic() + _BEFORE + self.seconds + _AFTER
        server = cluster.server
        with Pulse(server) as pulse, SteadyReader(server, _CHANGED) as reader, Pyshard(server, deadline=SOON) as app:
            app.get(_CHANGED)  # for its map: of indexes that programs make, a shard that is cut off is not told
            self._order(end)
            until(lambda: bool(pulse.acknowledged), "the first write is acknowledged")
            until(lambda: bool(reader.found), "the first read is answered")
            time.sleep(_BEFORE)
            former = cluster.primary()
            began, healed = self._cut_and_heal(pulse, reader, app)
            if self.cut.leads is not None:
                leader = cluster.primary()
                assert (leader is former) == self.cut.leads, f"{former.name} led, and {leader.name} does"
            until(lambda: pulse.first_after(healed) is not None, "writes go on when it is healed", SOON)
            cluster.wait_whole()
            self.times.whole = time.monotonic() - healed
            until(lambda: sorted(cluster.roles()) == [MEMBER, MEMBER, PRIMARY], "one replica leads, and two follow")
            for program in self.programs:
                program.wait()
        self.times.stood_still = pulse.longest()
        self._check_pulse(pulse)
        self._order(0)
        for program in self.programs:
            program.wait()
        calls = [call for program in self.programs for call in program.calls()]
        while self.programs:
            self.programs.pop().end()
        self._check_load(calls, began, healed)
        self._recorder.taken(call for call in calls if call.verb not in _INDEX_VERBS)
        return self._recorder.check()

    def close(self) -> None:
        """End the programs that are left."""
        for program in self.programs:
            program.kill()
            program.end()

    def _order(self, end: float) -> None:
        for program in self.programs:
            program.order(Order(_ROUND, self._recorder.keys, end))

    def _cut_and_heal(self, pulse: Pulse, reader: SteadyReader, app: Pyshard) -> tuple[float, float]:
        """When it was cut, and when it was healed."""
        cluster, network = self.cluster, self.cluster.network
        ends, others = self.cut.ends(cluster), self.cut.others(cluster)
        for one in ends:
            for other in others:
                if self.way != INCOMING:
                    network.cut(one, other)
                if self.way != OUTGOING:
                    network.cut(other, one)
        began = time.monotonic()
        former = cluster.primary()
        try:
            if self.cut.kills:
                former.kill()
                began = time.monotonic()
            if self.cut.writes:
                until(lambda: pulse.first_after(began) is not None, "writes go on while it is cut", SOON)
                first = pulse.first_after(began)
                assert first is not None
                self.times.first_write = first - began
                self._change(app, reader)
            elif not self.cut.kills:
                app.get("pulse")
            time.sleep(max(0.0, began + self.seconds - time.monotonic()))
            assert self.cut.writes or pulse.first_after(began) is None, "a change was acknowledged that can't be safe"
        finally:
            healed = time.monotonic()
            network.heal()
            if self.cut.kills:
                former.start()
        return began, healed

    def _change(self, app: Pyshard, reader: SteadyReader) -> None:
        """Change the key that is read all the time; all reads from now on give what it has now."""
        until(lambda: _is_written(app), f"{_CHANGED} is written while it is cut", SOON)
        changed = time.monotonic()
        until(lambda: len(reader.after(changed)) > _READS, "reads go on while it is cut", SOON)
        assert set(reader.after(changed)) == {"new"}, "a read was stale"

    def _check_pulse(self, pulse: Pulse) -> None:
        """What was acknowledged last is there, or what was written after it."""
        with Pyshard(self.cluster.server, deadline=PATIENCE) as app:
            found = app.get("pulse")
            assert isinstance(found, int)
            assert found >= pulse.last

    def _check_load(self, calls: Sequence[Call], began: float, healed: float) -> None:
        """The programs went on when it was healed; while they were cut off, nothing was answered."""
        answered = [
            call
            for call in calls
            if call.verb in {*SINGLE, *BULK} and call.ended and not isinstance(call.outcome, Exception)
        ]
        meanwhile = [call for call in answered if began * 1e9 < call.began and call.ended < healed * 1e9]
        assert self.cut.load is not False or not meanwhile, f"answered through a cut network: {meanwhile[0]}"
        later = [call.ended / 1e9 - healed for call in answered if call.began > healed * 1e9 and call.changes]
        assert later, "no change of a program was acknowledged when the network was healed"
        self.times.load = min(later)


def _is_written(app: Pyshard) -> bool:
    """Write it, and say whether that is acknowledged: a former primary may have been sent it."""
    try:
        app.write(_CHANGED, "new")
    except OutcomeUnknown:
        return False
    return True


def check_equal(cluster: NetworkedCluster) -> None:
    """All replicas have the same on their disks. They are ended for that."""
    time.sleep(cluster.group().lease)  # so that all members know what is committed
    cluster.end_all()
    (first, *others) = cluster.contents().values()
    assert others == [first] * (len(REPLICAS) - 1)
