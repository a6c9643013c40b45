"""The linearizability checker itself: histories that are known as good pass, and those known as bad don't."""

from __future__ import annotations

from itertools import permutations
from math import inf
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linearizability import (
    ABSENT,
    PRESENT,
    READS,
    UNKNOWN,
    NotLinearizable,
    Operation,
    State,
    Undecided,
    check,
    done,
)


def op(
    client: str, verb: str, called: float, returned: float, result: object, value: int = 0, **options: Any
) -> Operation:
    """An operation."""
    return Operation(client, verb, called, returned, result, value, **options)


GOOD: dict[str, list[Operation]] = {
    "nothing": [],
    "one after another": [
        op("a", "read", 0, 1, None),
        op("a", "write", 2, 3, True, 1),
        op("b", "read", 4, 5, 1),
        op("b", "item", 6, 7, (1, False)),
        op("b", "has", 8, 9, True),
        op("a", "pop", 10, 11, 1),
        op("b", "has", 12, 13, False),
    ],
    "a read beside a write sees the old or the new": [
        op("a", "write", 0, 1, True, 1),
        op("a", "write", 2, 9, True, 2),
        op("b", "read", 3, 4, 1),
        op("c", "read", 5, 6, 2),
        op("c", "read", 7, 8, 2),
    ],
    "two writes at once, in either order": [
        op("a", "write", 0, 5, True, 1),
        op("b", "write", 0, 5, True, 2),
        op("c", "read", 6, 7, 1),
    ],
    "a lost write that happened": [op("a", "write", 0, 1, UNKNOWN, 1), op("b", "read", 2, 3, 1)],
    "a lost write that didn't": [op("a", "write", 0, 1, UNKNOWN, 1), op("b", "read", 2, 3, None)],
    "a lost write that happened late": [
        op("a", "write", 0, 1, UNKNOWN, 1),
        op("b", "read", 2, 3, None),
        op("b", "write", 4, 5, True, 2),
        op("b", "read", 6, 7, 1),
    ],
    "a lost pop that happened late": [
        op("a", "write", 0, 1, True, 1),
        op("b", "pop", 2, 3, UNKNOWN),
        op("a", "read", 4, 5, 1),
        op("a", "read", 6, 7, None),
    ],
    "a lost write without its condition": [
        op("a", "write", 0, 1, True, 1),
        op("b", "write", 2, 3, UNKNOWN, 2, condition=ABSENT),
        op("a", "read", 4, 5, 1),
        op("a", "remove", 6, 7, True),
        op("a", "read", 8, 9, 2),
    ],
    "conditions": [
        op("a", "write", 0, 1, True, 1, condition=ABSENT),
        op("b", "write", 2, 3, False, 2, condition=ABSENT),
        op("b", "write", 4, 5, True, 3, condition=1),
        op("a", "write", 6, 7, False, 4, condition=1),
        op("a", "pop", 8, 9, None, condition=1),
        op("a", "remove", 10, 11, True, condition=3),
    ],
    "times to live": [
        op("a", "write", 0, 1, True, 1, expires=True),
        op("a", "item", 2, 3, (1, True)),
        op("a", "touch", 4, 5, True),
        op("a", "increment", 6, 7, 2, 1),
        op("a", "item", 8, 9, (2, False)),
        op("a", "touch", 10, 11, True, expires=True),
        op("a", "increment", 12, 13, 3, 1),
        op("a", "item", 14, 15, (3, True)),
        op("a", "remove", 16, 17, True),
        op("a", "touch", 18, 19, False, expires=True),
    ],
    "a touch that changes nothing before a lost write, and something after it": [
        op("a", "write", 0, 1, True, 1),
        op("b", "write", 2, 3, UNKNOWN, 2, expires=True),
        op("a", "touch", 4, 5, True),
        op("a", "item", 6, 7, (2, False)),
    ],
    "a counter between acknowledged and acknowledged with unknown": [
        op("a", "increment", 0, 1, 101, 1, initial=100),
        op("b", "increment", 2, 3, UNKNOWN, 1, initial=100),
        op("c", "increment", 4, 5, UNKNOWN, 1, initial=100),
        op("a", "read", 6, 7, 102),
        op("a", "increment", 8, 9, 104, 1, initial=100),
    ],
    "pipelined, in the order called": [
        op("a", "write", 0, 9, True, 1),
        op("a", "write", 1, 9, True, 2),
        op("a", "read", 2, 9, 2),
        op("b", "read", 10, 11, 2),
    ],
    "pipelined reads have no order": [
        op("a", "read", 0, 9, 1),
        op("a", "read", 1, 9, None),
        op("b", "write", 2, 8, True, 1),
    ],
    "a bulk verb that is under way may come before or after": [
        op("a", "write", 0, 9, True, 1, bulk=1),
        op("a", "write", 1, 8, True, 2),
        op("a", "read", 10, 11, 1),
    ],
}

BAD: dict[str, list[Operation]] = {
    "a value from nowhere": [op("a", "read", 0, 1, 7)],
    "a stale read after an acknowledged write": [
        op("a", "write", 0, 1, True, 1),
        op("a", "write", 2, 3, True, 2),
        op("b", "read", 4, 5, 1),
    ],
    "missing after an acknowledged write": [op("a", "write", 0, 1, True, 1), op("b", "read", 2, 3, None)],
    "a read that goes back, beside a write": [
        op("a", "write", 0, 9, True, 1),
        op("b", "read", 1, 2, 1),
        op("c", "read", 3, 4, None),
    ],
    "two conditional writes for one version": [
        op("a", "write", 0, 1, True, 1),
        op("a", "write", 2, 5, True, 2, condition=1),
        op("b", "write", 2, 5, True, 3, condition=1),
    ],
    "a conditional write that was lost though it was met": [
        op("a", "write", 0, 1, True, 1),
        op("b", "write", 2, 3, False, 2, condition=1),
    ],
    "two locks at once": [
        op("a", "write", 0, 5, True, 1, condition=ABSENT),
        op("b", "write", 0, 5, True, 2, condition=ABSENT),
    ],
    "two pops of one value": [
        op("a", "write", 0, 1, True, 1),
        op("a", "pop", 2, 5, 1),
        op("b", "pop", 2, 5, 1),
    ],
    "a pop and a removal of one value": [
        op("a", "write", 0, 1, True, 1),
        op("a", "pop", 2, 5, 1),
        op("b", "remove", 2, 5, True),
    ],
    "a lost write that happened twice": [
        op("a", "write", 0, 1, UNKNOWN, 1),
        op("b", "read", 2, 3, 1),
        op("b", "write", 4, 5, True, 2),
        op("b", "read", 6, 7, 1),
    ],
    "a lost write of a value, before its call": [
        op("b", "read", 0, 1, 1),
        op("a", "write", 2, 3, UNKNOWN, 1),
    ],
    "a lost write behind what its client did later": [
        op("a", "write", 0, 1, UNKNOWN, 1),
        op("a", "write", 2, 3, True, 2),
        op("b", "read", 4, 5, 1),
    ],
    "a lost write behind what its client read later": [
        op("a", "write", 0, 1, UNKNOWN, 1),
        op("a", "read", 2, 3, None),
        op("b", "read", 4, 5, 1),
    ],
    "a lost bulk write behind what its client did later": [
        op("a", "write", 0, 1, UNKNOWN, 1, bulk=1),
        op("a", "write", 2, 3, True, 2),
        op("b", "read", 4, 5, 1),
    ],
    "a counter past acknowledged with unknown": [
        op("a", "increment", 0, 1, 1, 1),
        op("b", "increment", 2, 3, UNKNOWN, 1),
        op("a", "increment", 4, 5, 4, 1),
    ],
    "a counter that lost an acknowledged increment": [
        op("a", "increment", 0, 5, 1, 1),
        op("b", "increment", 0, 5, 1, 1),
    ],
    "a time to live that was lost": [
        op("a", "write", 0, 1, True, 1, expires=True),
        op("a", "increment", 2, 3, 2, 1),
        op("a", "item", 4, 5, (2, False)),
    ],
    "pipelined, out of order": [
        op("a", "write", 0, 9, True, 1),
        op("a", "write", 1, 9, True, 2),
        op("b", "read", 10, 11, 1),
    ],
    "a pipelined read before the write that was called first": [
        op("a", "write", 0, 9, True, 1),
        op("a", "read", 1, 9, None),
    ],
    "a key given twice to one bulk verb, out of order": [
        op("a", "write", 0, 9, True, 1, bulk=1),
        op("a", "write", 0, 9, True, 2, bulk=1),
        op("b", "read", 10, 11, 1),
    ],
    "True for 1": [op("a", "write", 0, 1, True, 1), op("a", "has", 2, 3, 1)],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=list(GOOD))
def test_good(history: list[Operation]) -> None:
    """There is an order, whatever comes first in the list of several clients."""
    check(history)


@pytest.mark.parametrize("history", BAD.values(), ids=list(BAD))
def test_bad(history: list[Operation]) -> None:
    """There is none."""
    with pytest.raises(NotLinearizable):
        check(history)


def test_first_state() -> None:
    """A key may have something at first."""
    check([op("a", "read", 0, 1, 5)], (5, False))
    with pytest.raises(NotLinearizable):
        check([op("a", "read", 0, 1, None)], (5, False))


def test_the_message_tells_where_it_is_stuck() -> None:
    """What was found to be impossible stands in the message."""
    with pytest.raises(
        NotLinearizable, match=r"^1 operations left, and the key has \(2, False\); .*\n.*'read'.*called=4"
    ):
        check(BAD["a stale read after an acknowledged write"])


def test_bounded() -> None:
    """A history that takes too long is given up, and not called good or bad."""
    lost = [op(f"w{number}", "increment", 0, inf, UNKNOWN, 2**number) for number in range(30)]
    with pytest.raises(Undecided, match="in 1,000 positions"):
        check([*lost, op("r", "read", 1, 2, -1)], most=1000)


def test_what_was_lost_is_tried_where_it_matters() -> None:
    """Many lost writes that nobody saw cost nothing."""
    writes = [op(f"w{number}", "write", 0, inf, UNKNOWN, number) for number in range(30)]
    reads = [op("r", "read", 2 * number + 1, 2 * number + 2, 7) for number in range(3)]
    check([*writes, *reads], most=100)
    with pytest.raises(NotLinearizable):
        check([*writes, *reads, op("r", "read", 7, 8, 30)], most=1000)


def test_long_histories() -> None:
    """A thousand operations and more take no longer than they must: what was tried before isn't tried again."""
    random, history, state = Random(1), [], None
    for number in range(1500):
        one = op(f"c{number % 5}", random.choice(["read", "write", "pop"]), number, number + 4, UNKNOWN, number)
        state, result = done(state, one)
        history.append(attrs.evolve(one, result=result))
    check(history)


# ---------------------------------------------------------------------- against all orders


def explained(history: list[Operation]) -> bool:
    """The same question, answered by trying every order of every choice of what was lost."""
    lost = [one for one in history if one.maybe]
    for chosen in range(2 ** len(lost)):
        some = [one for one in history if not one.maybe or chosen >> lost.index(one) & 1]
        if any(_fits(order, history) for order in permutations(some)):
            return True
    return False


def _fits(order: tuple[Operation, ...], history: list[Operation]) -> bool:
    state: State = None
    for place, one in enumerate(order):
        for later in order[place + 1 :]:
            if later.by < one.called:
                return False
            called_first = history.index(later) < history.index(one) and later.client == one.client
            if called_first and not (later.verb in READS and one.verb in READS):
                return False
        state, result = done(state, one)
        if not one.maybe and result != one.result:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Some operations of two clients, at times that overlap, with results that may be wrong."""
    history: list[Operation] = []
    state: State = None
    for number in range(draw(st.integers(1, 5))):
        one = op(
            draw(st.sampled_from("ab")),
            draw(st.sampled_from(["read", "item", "write", "write", "pop", "remove", "touch", "increment", "has"])),
            number,
            number + draw(st.sampled_from([0.5, 1.5, 2.5])),
            UNKNOWN,
            number + 1,
            condition=draw(st.sampled_from([None, None, ABSENT, PRESENT, 1])),
            expires=draw(st.booleans()),
        )
        if one.verb in READS or draw(st.integers(0, 3)):
            applied = draw(st.booleans())
            state, result = done(state, one)
            history.append(attrs.evolve(one, result=result if applied else draw(st.sampled_from([None, True, 1, 2]))))
        else:
            history.append(one)
    return history


@given(histories())
@settings(max_examples=50, deadline=None)
def test_against_all_orders(history: list[Operation]) -> None:
    """It agrees with a search that tries everything."""
    history = [
        one for one in history if type(one.result) is type(done(None, one)[1]) or one.maybe or one.result is None
    ]
    gives = ("has", "write", "remove", "touch", "increment")  # something else than None
    history = [one for one in history if one.verb not in gives or one.result is not None]
    try:
        check(history)
    except NotLinearizable:
        assert not explained(history)
    else:
        assert explained(history)
