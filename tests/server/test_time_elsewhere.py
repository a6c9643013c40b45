"""What another thread does for somebody, and what waits elsewhere, in the shares of a daemon's time."""

from __future__ import annotations

import gc
import weakref

import pytest
from server.turns_bench import Bench, wait_of

from pyshard.server.address_time_shares import ASKS, COMMIT
from pyshard.settings import settings

AT_ONCE, SLICE = settings.SERVED_AT_ONCE, settings.SERVED_SLICE


@pytest.fixture
def bench() -> Bench:
    """Turns by a clock of their own."""
    return Bench()


def test_time_in_which_answers_wait_elsewhere_is_left(bench: Bench) -> None:
    """Who waits for a replica's word finds the daemon free more often, as if it were busy with that."""
    served = {}
    for told in (False, True):
        honest, attack = bench.peer(f"honest {told}", cost=0.00003), bench.peer(f"attack {told}", cost=0.005)
        attack.arrive(1_000_000)
        began, known = bench.clock.seconds(), len(bench.served)
        while bench.clock.seconds() - began < 3:
            bench.ask(honest)
            waits = bench.clock.seconds()
            bench.away(0.002)
            if told:
                bench.turns.count_waiting(honest, bench.clock.seconds() - waits)
        served[told] = bench.served[known:].count(attack.name)
        bench.turns.forget(attack)
        attack.boxes = 0
    assert 0 < served[True] < 0.6 * served[False]


def test_time_of_another_thread_counts(bench: Bench) -> None:
    """What a store's own thread takes for an address's boxes is left to others as if the daemon had taken it here."""
    honest, attack = bench.peer("honest", cost=0.00003), bench.peer("attack", cost=0.001)
    served = {}
    for elsewhere in (0.0, 0.01):
        began, known, served[elsewhere] = bench.clock.seconds(), len(bench.served), 0
        while bench.clock.seconds() - began < 3:
            if not attack.boxes:
                attack.arrive(1)
            bench.ask(honest)
            done = bench.served[known:].count("attack")
            known += len(bench.served[known:])
            served[elsewhere] += done
            for _ in range(done):
                bench.turns.count_elsewhere(attack, elsewhere)
    assert 0 < served[0.01] < 0.3 * served[0.0]


@pytest.mark.parametrize(("elsewhere", "rests"), [(0.0003, False), (0.005, True)])
def test_what_any_commit_takes_makes_no_box_a_long_one(bench: Bench, elsewhere: float, rests: bool) -> None:
    """A client of a durable shard doesn't leave its time to a flood of small things, since each sync takes long."""
    honest, attack, waits = bench.peer("honest", cost=0.00005), bench.peer("attack", cost=0.00002), []
    attack.arrive(1_000_000)
    for _ in range(80):
        waits.append(wait_of(bench, honest))
        bench.away(0.0003)
        bench.turns.count_elsewhere(honest, elsewhere, 1, COMMIT)
    assert (max(waits[20:]) > 0.0005) is rests


def test_who_leaves_time_to_others_rests(bench: Bench) -> None:
    """Late answers wait as long as the address's next box does, and one who asks alone never rests."""
    over: list[float] = []
    attack = bench.peer("attack", cost=0.005)
    attack.arrive(1)
    assert not bench.turns.rests(attack, lambda: over.append(bench.clock.seconds()))
    honest = bench.peer("honest", cost=0.00003)
    attack.arrive(1_000_000)
    for _ in range(3000):
        bench.ask(honest)
    while not bench.turns.rests(attack, lambda: over.append(bench.clock.seconds())):
        bench.ask(honest)
    asked = bench.clock.seconds()
    bench.away(1.0)
    (ended,) = over
    assert ended - asked <= ASKS + 0.006  # nobody asks any more; a box of the attack may be served meanwhile


def test_hanging_up_is_no_way_round(bench: Bench) -> None:
    """What another thread did for who has hung up counts for its address's long boxes, and so does a new connection."""
    bench.peer("honest").arrive(1)
    gone = bench.peer("gone", cost=0.00003)
    gone.arrive(1)
    gone.ended = True
    bench.turns.forget(gone)
    bench.turns.count_elsewhere(gone, 0.02)
    again = bench.peer("again", cost=0.02, origin="gone")
    again.arrive(1)
    assert again.account != again.origin
    assert bench.served == ["honest", "gone"]


def test_small_changes_are_no_long_boxes(bench: Bench) -> None:
    """What a commit takes for the smallest change makes no box a long one; a multiple of that does."""
    for name, elsewhere, long in (("small", 0.0003, False), ("large", 0.002, True)):
        writer = bench.peer(name, cost=0.00003)
        for _ in range(10):
            writer.arrive(1)
            bench.turns.count_elsewhere(writer, elsewhere)
        assert (writer.account != writer.origin) == long, name


def test_time_of_another_thread_for_who_has_gone(bench: Bench) -> None:
    """A change that is done after its connection has ended counts for the address, and nothing is kept of it."""
    gone = bench.peer("gone", cost=0.001)
    gone.arrive(1)
    gone.ended = True
    bench.turns.forget(gone)
    bench.turns.count_elsewhere(gone, 0.01)
    known = weakref.ref(gone)
    del gone
    gc.collect()
    assert known() is None


def test_whether_anybody_asks(bench: Bench) -> None:
    """Somebody does until a moment after a box of any peer; be it the only one."""
    asked = [bench.turns.asked]
    bench.ask(bench.peer("alone", cost=0.00001))
    asked.append(bench.turns.asked)
    bench.away(ASKS)
    assert [*asked, bench.turns.asked] == [False, True, False]
