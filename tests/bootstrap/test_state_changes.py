"""Changes of the state by several processes, over one state store with faults."""

from __future__ import annotations

from math import inf

import attrs
import pytest
from bootstrap.states import STATE
from deferreds import result, watch
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap import state_changes
from pyshard.bootstrap.state_changes import CHANGE_WITHIN, TRY_AGAIN, StateChanges, check_successor
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore, SwapFault
from pyshard.bootstrap.state_stores.state_store import Revision, StoredState, SwapOutcome
from pyshard.errors import BadRequest, ConfigError, IndexExists, IndexNotFound, OutcomeUnknown, Unavailable
from pyshard.model.cluster_state import ClusterState


class Keeper:
    """One process that knows the state.

    :ivar heard: the states of which it has told.
    """

    def __init__(self, store: MemoryStateStore, clock: Clock, name: str, fresh: bool = False) -> None:
        self.heard: list[ClusterState] = []
        self.changes = StateChanges(store, clock, name, None if fresh else store.stored, self._changed)

    def _changed(self) -> None:
        self.heard.append(self.changes.state)


class EndsStore(MemoryStateStore):
    """Remembers when each answer had to be there."""

    def __init__(self, state: ClusterState) -> None:
        super().__init__(state)
        self.ends: list[float] = []

    def get(self, end: float = inf) -> Deferred[StoredState | None]:
        self.ends.append(end)
        return super().get(end)

    def swap(self, state: ClusterState, expected: Revision, write: str, end: float = inf) -> Deferred[SwapOutcome]:
        self.ends.append(end)
        return super().swap(state, expected, write, end)


class Bench:
    """Two processes and their state store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStateStore(STATE)
        self.one, self.two = (Keeper(self.store, self.clock, name) for name in ("a", "b"))

    def pass_time(self, seconds: float) -> None:
        """Let swaps be tried again."""
        self.clock.pump([0.05] * round(seconds / 0.05))


@pytest.fixture
def bench() -> Bench:
    """Both know the state."""
    return Bench()


def test_a_change_of_one_is_taken_by_the_other(bench: Bench) -> None:
    """When it looks, or when it loses a swap; then its change is made of that state, anew."""
    result(bench.one.changes.change(lambda state: state.with_index("links")))
    assert (bench.one.heard, bench.two.heard) == ([STATE.with_index("links")], [])
    result(bench.two.changes.look())
    assert bench.two.heard == bench.one.heard
    result(bench.one.changes.change(lambda state: state.with_index("more")))
    result(bench.two.changes.change(lambda state: state.with_index("most")))
    all_of_them = STATE.with_index("links").with_index("more").with_index("most")
    assert bench.two.heard[1:] == [STATE.with_index("links").with_index("more"), all_of_them]
    assert bench.store.swaps[-1] == all_of_them


def test_what_another_one_has_done_already(bench: Bench) -> None:
    """It is told as such: the change is decided by the state that is there."""
    result(bench.one.changes.change(lambda state: state.with_index("links")))
    with pytest.raises(IndexExists):
        result(bench.two.changes.change(lambda state: state.with_index("links")))
    assert len(bench.store.swaps) == 1


def test_what_another_one_has_made_possible(bench: Bench) -> None:
    """Nothing is refused by an old state; and where nobody knows whether it is old, that is said."""
    result(bench.one.changes.change(lambda state: state.with_index("links")))
    result(bench.two.changes.change(lambda state: state.without_index("links")))
    assert bench.store.swaps[-1].indexes == STATE.indexes
    bench.store.away = Unavailable("nobody answers")
    with pytest.raises(Unavailable, match="wait for its state store: nobody answers"):
        result(bench.two.changes.change(lambda state: state.without_index("links")))


def test_what_is_looked_at_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a state can be read is found out by what is other than in the last one that can."""
    known: list[ClusterState | None] = []
    monkeypatch.setattr(state_changes, "check_readable", lambda _, readable: known.append(readable))
    for name in ("links", "more"):
        result(bench.one.changes.change(lambda state, name=name: state.with_index(name)))  # type: ignore[misc]
    assert known == [None, STATE.with_index("links")]


def test_changes_wait_for_one_another(bench: Bench) -> None:
    """Each is made of the one before, though that took its time."""
    bench.store.fault = lambda _: SwapFault.LOST
    changes = bench.one.changes
    outcomes = [
        watch(changes.change(lambda state: state.with_index("a"))),
        watch(changes.change(lambda state: state.with_index("b"))),
    ]
    bench.pass_time(1)
    assert outcomes == [[], []]
    bench.store.fault = lambda _: None
    bench.pass_time(0.2)
    assert outcomes == [[None], [None]]
    assert bench.store.swaps == [STATE.with_index("a"), STATE.with_index("a").with_index("b")]


@pytest.mark.parametrize("fault", SwapFault)
def test_an_unknown_swap_is_tried_again_until_it_is_settled(bench: Bench, fault: SwapFault) -> None:
    """Whatever became of the first try, the change is made once, and told when that is known."""
    faults = [fault, fault]
    bench.store.fault = lambda _: faults.pop() if faults else None
    outcome = watch(bench.one.changes.change(lambda state: state.with_index("links")))
    assert (outcome, bench.one.heard, bench.one.changes.state) == ([], [], STATE)
    bench.pass_time(1)
    bench.store.land()
    assert (outcome, bench.one.heard) == ([None], [STATE.with_index("links")])
    assert bench.store.swaps == [STATE.with_index("links")]


def test_an_unknown_swap_that_another_one_has_gone_beyond(bench: Bench) -> None:
    """Nobody knows whether it was applied before, so that is what its caller hears; the state there is taken."""
    bench.store.fault = lambda _: SwapFault.UNTOLD
    outcome = watch(bench.one.changes.change(lambda state: state.with_index("links")))
    bench.store.fault = lambda _: None
    result(bench.two.changes.change(lambda state: state.with_index("more")))
    bench.pass_time(0.2)
    assert isinstance(outcome[0], OutcomeUnknown)
    assert bench.one.changes.state == STATE.with_index("links").with_index("more") == bench.two.changes.state


def test_a_late_swap_after_its_caller_gave_up(bench: Bench) -> None:
    """Its caller hears that nobody knows. It isn't acted on before it is seen; then it holds."""
    bench.store.fault = lambda _: SwapFault.LATE
    outcome = watch(bench.one.changes.change(lambda state: state.with_index("links")))
    bench.pass_time(CHANGE_WITHIN)
    assert isinstance(outcome[0], OutcomeUnknown)
    result(bench.one.changes.look())
    assert (bench.one.heard, bench.one.changes.state) == ([], STATE)
    bench.store.land()
    assert bench.one.heard == []
    result(bench.one.changes.look())
    assert bench.one.heard == [STATE.with_index("links")]
    assert bench.store.swaps == bench.one.heard


def test_a_rival_settles_a_late_swap(bench: Bench) -> None:
    """One that was made of the same state wins or loses against it, and never both hold."""
    for late_first in (True, False):
        made = Bench()
        made.store.fault = lambda _: SwapFault.LATE
        watch(made.one.changes.change(lambda state: state.with_index("late")))
        made.pass_time(CHANGE_WITHIN)
        made.store.fault = lambda _: None
        if late_first:
            made.store.land()
        rival = watch(made.one.changes.change(lambda state: state.with_index("rival") if state == STATE else state))
        made.store.land()
        assert rival == [None]
        assert made.store.swaps == [STATE.with_index("late" if late_first else "rival")]
        assert made.one.changes.state == made.store.swaps[0]


def test_a_process_that_ends_tries_no_more(bench: Bench) -> None:
    """What is unknown then stays so."""
    bench.store.fault = lambda _: SwapFault.LOST
    outcome = watch(bench.one.changes.change(lambda state: state.with_index("links")))
    bench.one.changes.close()
    bench.store.fault = lambda _: None
    bench.pass_time(1)
    assert isinstance(outcome[0], OutcomeUnknown)
    assert bench.store.swaps == []


def test_the_store_is_away(bench: Bench, log_lines: list[str]) -> None:
    """Nothing changes, and the state that is known stands; the log says so once, and when it is over."""
    bench.store.away = Unavailable("nobody answers")
    for _ in range(3):
        with pytest.raises(Unavailable, match="nobody answers"):
            result(bench.one.changes.change(lambda state: state.with_index("links")))
        result(bench.one.changes.look())
        bench.pass_time(1)
    assert bench.one.changes.state == STATE
    assert bench.one.changes.trouble == "nobody answers"
    assert bench.one.changes.troubled_for() == pytest.approx(3)
    assert len([line for line in log_lines if "state store: nobody answers; changes of the cluster wait" in line]) == 1
    bench.store.away = None
    result(bench.one.changes.look())
    assert (bench.one.changes.trouble, bench.one.changes.troubled_for()) == ("", 0)
    assert len([line for line in log_lines if "state store memory: at hand" in line]) == 1
    result(bench.one.changes.change(lambda state: state.with_index("links")))


def test_a_change_that_waited_too_long(bench: Bench) -> None:
    """It isn't begun any more: its caller may have given it up."""
    bench.store.fault = lambda _: SwapFault.LOST
    first = watch(bench.one.changes.change(lambda state: state.with_index("links"), CHANGE_WITHIN + 1))
    second = watch(bench.one.changes.change(lambda state: state.with_index("more")))
    bench.pass_time(CHANGE_WITHIN + 1)
    assert (type(first[0]), type(second[0])) == (OutcomeUnknown, Unavailable)
    assert bench.store.swaps == []


def test_changes_that_wait_behind_a_slow_one(bench: Bench) -> None:
    """They are refused at their own end, not at its."""
    bench.store.fault = lambda _: SwapFault.LOST
    first = watch(bench.one.changes.change(lambda state: state.with_index("links"), CHANGE_WITHIN * 2))
    second = watch(bench.one.changes.change(lambda state: state.with_index("more")))
    bench.pass_time(CHANGE_WITHIN - 0.1)
    assert second == []
    bench.pass_time(0.2)
    assert isinstance(second[0], Unavailable)
    assert first == []
    bench.pass_time(CHANGE_WITHIN)
    assert isinstance(first[0], OutcomeUnknown)
    assert bench.clock.getDelayedCalls() == []


def test_the_end_of_a_change_goes_down_to_the_store() -> None:
    """With each try, and with the look by which a refusal is made sure; a look of its own has as much time."""
    store, clock = EndsStore(STATE), Clock()
    changes = Keeper(store, clock, "a").changes
    store.fault = lambda _: SwapFault.LOST
    watch(changes.change(lambda state: state.with_index("links")))
    clock.advance(TRY_AGAIN)
    assert store.ends == [CHANGE_WITHIN] * 2
    clock.pump([TRY_AGAIN] * 30)
    store.ends.clear()
    with pytest.raises(IndexNotFound):
        result(changes.change(lambda state: state.without_index("no such one"), 3))
    result(changes.look())
    assert store.ends == [clock.seconds() + 3, clock.seconds() + CHANGE_WITHIN]
    assert clock.getDelayedCalls() == []


def test_no_state_yet(bench: Bench) -> None:
    """Then nothing can be told or changed, and the message says what is waited for; once it is there, it is told."""
    bench.store.away = Unavailable("nobody answers")
    late = Keeper(bench.store, bench.clock, "c", fresh=True)
    result(late.changes.look())
    for _ in range(2):
        with pytest.raises(Unavailable, match="no cluster state yet, since it waits for it: nobody answers"):
            late.changes.state  # noqa: B018  # it raises
    with pytest.raises(Unavailable, match="no cluster state yet"):
        result(late.changes.change(lambda state: state))
    bench.store.away = None
    result(late.changes.open(lambda: pytest.fail("there is one")))
    assert late.heard == [STATE]


def test_who_begins_a_cluster(bench: Bench) -> None:
    """Where nothing is there, the first one does, and the others take what it began with."""
    bench.store.stored = None
    one, two = (Keeper(bench.store, bench.clock, name, fresh=True) for name in ("c", "d"))
    result(one.changes.look())
    assert one.heard == []
    result(one.changes.open(lambda: STATE))
    result(two.changes.open(lambda: attrs.evolve(STATE, cluster="another")))
    assert one.heard == two.heard == [STATE]


@pytest.mark.parametrize("fault", SwapFault)
def test_the_first_state_is_unknown(bench: Bench, fault: SwapFault) -> None:
    """It is tried again when it is looked for next."""
    bench.store.stored = None
    one = Keeper(bench.store, bench.clock, "c", fresh=True)
    bench.store.fault = lambda _: fault
    result(one.changes.open(lambda: STATE))
    assert one.heard == []
    bench.store.fault = lambda _: None
    result(one.changes.open(lambda: STATE))
    bench.store.land()
    assert one.heard == bench.store.swaps == [STATE]


def test_the_state_is_gone(bench: Bench) -> None:
    """It isn't made anew by who has known one: somebody may put it back. What is known is served."""
    bench.store.stored = None
    result(bench.one.changes.open(lambda: pytest.fail("it had one")))
    assert "the cluster's state is gone from there" in bench.one.changes.trouble
    with pytest.raises(ConfigError, match="is gone"):
        result(bench.one.changes.change(lambda state: state.with_index("links")))
    assert bench.one.changes.state == STATE


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (attrs.evolve(STATE.with_index("links"), cluster="other"), "found the state of cluster other"),
        (attrs.evolve(STATE, epoch=6), "found the state of epoch 6, which is no later one"),
        (attrs.evolve(STATE, indexes={}), "found the state of epoch 7, which is no later one"),
    ],
    ids=["another cluster's", "an older one", "another one of the same order"],
)
def test_a_state_that_can_not_follow(bench: Bench, found: ClusterState, message: str) -> None:
    """It isn't taken on; what to do is said."""
    with pytest.raises(ConfigError, match=message):
        check_successor("memory", STATE, found)
    bench.store.stored = MemoryStateStore(found).stored
    assert bench.store.stored is not None
    bench.store.stored = attrs.evolve(bench.store.stored, revision=Revision(99))
    result(bench.one.changes.look())
    assert message in bench.one.changes.trouble
    with pytest.raises(ConfigError, match=message):
        result(bench.one.changes.change(lambda state: state.with_index("links")))
    assert (bench.one.heard, bench.one.changes.state) == ([], STATE)


def test_states_that_follow() -> None:
    """The same one, and any later one."""
    for found in (STATE, STATE.with_index("links"), attrs.evolve(STATE, step=1)):
        check_successor("memory", STATE, found)


def test_a_state_that_nobody_could_read(bench: Bench) -> None:
    """It isn't put there, whoever made it."""
    with pytest.raises(BadRequest):
        result(bench.one.changes.change(lambda state: state.with_identity("low", "x" * 101, durable=False)))
    assert bench.store.swaps == []
