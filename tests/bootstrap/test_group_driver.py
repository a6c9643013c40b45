"""The driver of groups: what replicas report becomes the next group, through one compare-and-swap."""

from __future__ import annotations

import attrs
import pytest
from model.cluster_state.states import STATE
from model.cluster_state.test_groups import FIRST, SECOND, THIRD
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.group_driver import GroupDriver, with_seen_stores
from pyshard.bootstrap.group_paces import AT_ONCE, EVERY, ChangePace
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.errors import ConfigError
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.protocol.log_positions import LogPosition
from pyshard.replication.wishes import ReplicaReport, Wish, WishKind
from pyshard.settings import settings

A, B, C = FIRST.address, SECOND.address, THIRD.address
LEARNER = attrs.evolve(THIRD, store=StoreId("3d", "c"), durable=True)
GROUP = ReplicaGroup(3, A, frozenset({A, B}), (FIRST, SECOND, LEARNER))


def report(identity: str, incarnation: str, wish: Wish | None = None, ballot: int = 3, last: int = 9) -> ReplicaReport:
    """What a durable replica says."""
    return ReplicaReport(identity, incarnation, True, ballot, LogPosition(ballot, last), True, wish)


class Bench:
    """A bootstrap, its driver, and what the replicas say."""

    def __init__(self) -> None:
        self.clock = Clock()
        state = STATE.with_group("low", GROUP)
        self.store = MemoryStateStore(state)
        self.bootstrap = Bootstrap(self.store, self.clock, "b1", self.store.stored)
        self.says: dict[str, ReplicaReport | None] = {A: report("1d", "a"), B: report("2d", "b"), C: report("3d", "c")}
        self.waits: dict[str, Deferred[ReplicaReport | None]] = {}
        self.driver = GroupDriver(self.bootstrap, self.clock, self.find)
        self.driver.startService()

    def find(self, name: str, address: str) -> Bench.Asked | None:
        """What asks a replica."""
        assert name == "low"
        return Bench.Asked(self, address) if address in self.says else None

    @attrs.frozen
    class Asked:
        """One replica."""

        bench: Bench
        address: str

        def ask_replica(self) -> Deferred[ReplicaReport | None]:
            """What it says."""
            if self.address in self.bench.waits:
                return self.bench.waits[self.address]
            return succeed(self.bench.says[self.address])

    @property
    def group(self) -> ReplicaGroup:
        """The group by now."""
        low = self.bootstrap.state.map.named("low")
        assert low is not None
        assert low.group is not None
        return low.group

    def pass_time(self) -> None:
        """Let replicas be asked."""
        self.clock.advance(0.11)

    def pass_lease(self) -> None:
        """Let replicas be asked for as long as a primary leads that isn't heard, and once more."""
        began = self.clock.seconds()
        while self.clock.seconds() - began <= GROUP.lease:
            self.pass_time()
        self.pass_time()


@pytest.fixture
def bench() -> Bench:
    """A bench."""
    return Bench()


def test_nothing_wanted(bench: Bench) -> None:
    """Where nobody wants anything the state stays."""
    for _ in range(5):
        bench.pass_time()
    assert bench.group == GROUP


def test_what_the_primary_wants(bench: Bench) -> None:
    """A learner joins, a member is removed: as the primary wants it."""
    bench.says[A] = report("1d", "a", Wish(WishKind.JOIN, C))
    bench.pass_time()
    assert (bench.group.ballot, bench.group.members) == (4, frozenset({A, B, C}))
    bench.says[A] = report("1d", "a", Wish(WishKind.REMOVE, B), ballot=4)
    bench.pass_time()
    assert (bench.group.ballot, bench.group.members) == (5, frozenset({A, C}))


def test_a_member_leads(bench: Bench) -> None:
    """When the primary says nothing, a member whose promise has run out leads; clients get a new epoch."""
    bench.says[A] = None
    bench.says[B] = report("2d", "b", Wish(WishKind.LEAD, B))
    epoch = bench.bootstrap.state.epoch
    for _ in range(20):
        bench.pass_time()
    assert bench.group == GROUP, "it may be back"
    bench.pass_lease()
    assert (bench.group.primary, bench.group.members) == (B, frozenset({B}))
    assert bench.bootstrap.state.epoch == epoch + 1


def test_reports_of_another_ballot(bench: Bench) -> None:
    """What was said under another ballot counts for nothing, nor does what another store says."""
    bench.says[A] = report("1d", "a", Wish(WishKind.REMOVE, B), ballot=2)
    bench.says[B] = report("2d", "another", Wish(WishKind.LEAD, B))
    before = bench.group
    bench.pass_time()
    assert bench.group == before.with_store(B, StoreId("2d", "another"), durable=True)
    assert bench.group.primary == A


def test_one_change_at_a_time(bench: Bench) -> None:
    """While a replica's answer is awaited, nobody is asked anew; what changed meanwhile isn't changed by old words."""
    bench.waits[B] = Deferred()
    bench.says[A] = report("1d", "a", Wish(WishKind.REMOVE, B))
    for _ in range(5):
        bench.pass_time()
    assert bench.group == GROUP
    other = GROUP.without_member(B)
    bench.bootstrap.change(lambda state: state.with_group("low", other))
    bench.waits.pop(B).callback(None)
    bench.pass_time()
    assert bench.group == other


def test_another_copy() -> None:
    """A learner that holds another copy by now is known by it; one with another identity isn't taken up so."""
    seen = with_seen_stores(GROUP, {C: report("3d", "d")})
    assert seen.holds(C, StoreId("3d", "d"))
    assert with_seen_stores(GROUP, {C: report("9f", "d")}) is GROUP


def test_another_store_each_time(bench: Bench, log_lines: list[str]) -> None:
    """A replica that never has the same one makes some changes at once, then one in some seconds; few lines say so."""
    for number in range(600):
        bench.says[A] = report("1d", "a", ballot=bench.group.ballot)
        bench.says[C] = report("3d", f"another{number}", ballot=bench.group.ballot)
        bench.pass_time()
    assert bench.group.ballot - GROUP.ballot == AT_ONCE + int(bench.clock.seconds() / EVERY)
    lines = [line for line in log_lines if "want its group changed all the time" in line]
    assert 1 <= len(lines) <= 5 + settings.SHARD_LINES * bench.clock.seconds()
    bench.says[A], bench.says[B] = None, report("2d", "b", Wish(WishKind.LEAD, B), ballot=bench.group.ballot)
    bench.pass_lease()
    assert bench.group.primary == B, "a member that is well leads as soon as ever"
    for incarnation in "cde":
        bench.says[B] = report("2d", incarnation, ballot=bench.group.ballot)
        bench.pass_time()
        assert bench.group.holds(B, StoreId("2d", incarnation)), "and may have another store"


def test_another_store_while_nobody_leads(bench: Bench) -> None:
    """A learner that never has the same one has no member hear of a new ballot, so one of them can stand, and lead."""
    bench.says[A] = None
    for number in range(50):
        bench.says[C] = report("3d", f"another{number}")
        bench.pass_time()
    assert bench.group == GROUP
    bench.says[B] = report("2d", "b", Wish(WishKind.LEAD, B))
    bench.pass_time()
    assert (bench.group.primary, bench.group.ballot) == (B, GROUP.ballot + 1)
    bench.says[B] = report("2d", "b", ballot=bench.group.ballot)
    bench.pass_time()
    assert bench.group.holds(C, StoreId("3d", "another49")), "who leads can bring it on"


def test_another_wish_each_time(bench: Bench) -> None:
    """So it is with a primary that wants a learner to join, and to go, by turns."""
    for number in range(600):
        kind = WishKind.REMOVE if C in bench.group.members else WishKind.JOIN
        bench.says[A] = report("1d", "a", Wish(kind, C), ballot=bench.group.ballot)
        bench.pass_time()
        if number < AT_ONCE:
            assert bench.group.ballot == GROUP.ballot + number + 1
    assert bench.group.ballot - GROUP.ballot == AT_ONCE + int(bench.clock.seconds() / EVERY)


def test_lost_members_do_not_wait(bench: Bench) -> None:
    """While the next change waits, a member goes and a primary is replaced at once; a member's other store, too."""
    bench.says[C] = None
    for _ in range(AT_ONCE + 5):
        bench.says[A] = report("1d", "a", Wish(WishKind.RENEW, A), ballot=bench.group.ballot)
        bench.pass_time()
    assert bench.group.ballot == GROUP.ballot + AT_ONCE, "these wait"
    bench.says[A], bench.says[B] = None, report("2d", "b", Wish(WishKind.LEAD, B), ballot=bench.group.ballot)
    bench.pass_lease()
    assert (bench.group.primary, bench.group.members) == (B, frozenset({B}))
    bench.bootstrap.change(lambda state: state.with_group("low", bench.group.with_member(A)))
    bench.says[B] = report("2d", "b", Wish(WishKind.REMOVE, A), ballot=bench.group.ballot)
    bench.pass_time()
    assert bench.group.members == {B}


def test_another_store_of_a_member_does_not_wait(bench: Bench) -> None:
    """It is no member any more at once, whatever the pace of its stores: nobody can wait for its word."""
    for number in range(AT_ONCE + 5):
        bench.says[A] = report("1d", "a", ballot=bench.group.ballot)
        bench.says[C] = report("3d", f"another{number}", ballot=bench.group.ballot)
        bench.pass_time()
    assert bench.group.ballot == GROUP.ballot + AT_ONCE
    bench.bootstrap.change(lambda state: state.with_group("low", bench.group.with_member(C)))
    bench.says[A] = report("1d", "a", ballot=bench.group.ballot)
    bench.pass_time()
    assert bench.group.members == {A, B}


def test_changes_that_can_not_be_saved(bench: Bench) -> None:
    """They don't count: the next one is made as soon as it can be."""
    bench.store.away = ConfigError("no room")
    bench.says[A] = report("1d", "a", Wish(WishKind.JOIN, C))
    for _ in range(10 * AT_ONCE):
        bench.pass_time()
    assert bench.group == GROUP
    bench.store.away = None
    bench.pass_time()
    assert bench.group.members == {A, B, C}


def test_pace_of_changes() -> None:
    """What wasn't used is kept, up to what may come at once."""
    pace, made = ChangePace(), list[float]()
    for now in [1000.0] * 30 + [1000 + EVERY, 1000 + EVERY, 9000.0]:
        while pace.admits(now):
            pace.count()
            made.append(now)
    assert made == [1000.0] * AT_ONCE + [1000 + EVERY] + [9000.0] * AT_ONCE


def test_a_stopped_driver(bench: Bench) -> None:
    """It asks nobody any more."""
    bench.driver.stopService()
    bench.says[A] = report("1d", "a", Wish(WishKind.JOIN, C))
    bench.clock.advance(1)
    assert bench.group == GROUP
    assert bench.clock.getDelayedCalls() == []
