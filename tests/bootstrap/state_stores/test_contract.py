"""What every state store does. Over a real etcd the same tests run in tests/functional/test_etcd.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bootstrap.state_stores.stores import OPENERS, OpenedStore
from bootstrap.states import STATE

from pyshard.bootstrap.state_stores.state_store import NOTHING, Revision, StoredState, SwapApplied, SwapRefused
from pyshard.model.cluster_state import ClusterState

NEXT = STATE.with_index("links")
OTHER = STATE.with_index("others")


@pytest.fixture(params=OPENERS)
def opened(request: pytest.FixtureRequest) -> Iterator[OpenedStore]:
    """An empty state store."""
    name: str = request.param
    with OPENERS[name](request) as made:
        yield made


def put(opened: OpenedStore, state: ClusterState, expected: Revision, write: str) -> Revision:
    """Put a state there; its revision."""
    outcome = opened.run(opened.store.swap(state, expected, write))
    assert isinstance(outcome, SwapApplied)
    return outcome.revision


def test_nothing_at_first(opened: OpenedStore) -> None:
    """A new state store has no state."""
    assert opened.run(opened.store.get()) is None


def test_what_was_put_there_is_there(opened: OpenedStore) -> None:
    """Under the revision that the swap gave, with the swap's id."""
    first = put(opened, STATE, NOTHING, "a-1")
    assert opened.run(opened.store.get()) == StoredState(STATE, first, "a-1")
    second = put(opened, NEXT, first, "a-2")
    assert len({NOTHING, first, second}) == 3
    assert opened.run(opened.store.get()) == StoredState(NEXT, second, "a-2")


def test_a_swap_against_another_revision_is_refused(opened: OpenedStore) -> None:
    """And says what is there, which stays; also where there is something and nothing was expected, or vice versa."""
    assert opened.run(opened.store.swap(STATE, Revision(17), "a-1")) == SwapRefused(None)
    first = put(opened, STATE, NOTHING, "a-2")
    assert opened.run(opened.store.swap(OTHER, NOTHING, "b-1")) == SwapRefused(StoredState(STATE, first, "a-2"))
    second = put(opened, NEXT, first, "a-3")
    assert opened.run(opened.store.swap(OTHER, first, "b-2")) == SwapRefused(StoredState(NEXT, second, "a-3"))
    assert opened.run(opened.store.get()) == StoredState(NEXT, second, "a-3")


def test_a_swap_may_be_tried_again(opened: OpenedStore) -> None:
    """One that was applied says so again, and changes nothing. After another one it is refused."""
    first = put(opened, STATE, NOTHING, "a-1")
    assert put(opened, STATE, NOTHING, "a-1") == first
    second = put(opened, NEXT, first, "a-2")
    assert put(opened, NEXT, first, "a-2") == second
    third = put(opened, OTHER, second, "b-1")
    assert opened.run(opened.store.swap(NEXT, first, "a-2")) == SwapRefused(StoredState(OTHER, third, "b-1"))


def test_of_two_swaps_one_is_applied(opened: OpenedStore) -> None:
    """Whichever comes first; the other one hears of it."""
    first = put(opened, STATE, NOTHING, "a-1")
    swaps = [opened.store.swap(NEXT, first, "a-2"), opened.store.swap(OTHER, first, "b-2")]
    outcomes = [opened.run(swap) for swap in swaps]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["SwapApplied", "SwapRefused"]
    there = opened.run(opened.store.get())
    assert there is not None
    assert there.write == ("a-2" if isinstance(outcomes[0], SwapApplied) else "b-2")
    refused = next(outcome for outcome in outcomes if isinstance(outcome, SwapRefused))
    assert refused.found == there


def test_it_outlives_who_opened_it(opened: OpenedStore) -> None:
    """Where it is kept beyond the process, a next one finds the state."""
    if opened.again is None:
        pytest.skip("it is gone with its process")
    put(opened, STATE, NOTHING, "a-1")
    opened.reopen()
    found = opened.run(opened.store.get())
    assert found is not None
    assert found.state == STATE
    put(opened, NEXT, found.revision, "b-1")


def test_who_waits_is_told(opened: OpenedStore) -> None:
    """A change that came before or comes later is told, where others can make one. Waiting can be given up."""
    if not opened.store.shared:
        pytest.skip("nobody else changes it")
    first = put(opened, STATE, NOTHING, "a-1")
    opened.run(opened.store.wait(NOTHING))
    waiting, given_up = opened.store.wait(first), opened.store.wait(first)
    given_up.addErrback(lambda _: None)
    opened.pass_time()
    assert not waiting.called
    given_up.cancel()
    put(opened, NEXT, first, "b-1")
    opened.run(waiting)


def test_it_has_a_name(opened: OpenedStore) -> None:
    """Which messages can show."""
    assert opened.store.name
    assert "\n" not in opened.store.name


@pytest.mark.parametrize("name", OPENERS)
def test_kinds(name: str, request: pytest.FixtureRequest) -> None:
    """Each says in a word what it is."""
    with OPENERS[name](request) as made:
        assert made.store.kind == name
