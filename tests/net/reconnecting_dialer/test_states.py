"""A dialer's states: the table of which may follow which, and that a dialer keeps to it."""

from __future__ import annotations

import pytest
from net.reconnecting_dialer.dialed import WHERE, Bench
from twisted.internet.defer import Deferred

from pyshard.net.reconnecting_dialer import FOLLOWS, DialerState

IDLE, DIALING, GREETING, CONNECTED, BACKING_OFF, CLOSED = DialerState


def test_table() -> None:
    """Every state is in the table; each but the last can be closed, which is for good."""
    assert FOLLOWS.keys() == set(DialerState)
    assert [state for state, following in FOLLOWS.items() if CLOSED in following] == [
        IDLE, DIALING, GREETING, CONNECTED, BACKING_OFF,
    ]  # fmt: skip
    assert FOLLOWS[CLOSED] == set()
    assert all(state not in following for state, following in FOLLOWS.items())


def test_the_way_to_a_connection(bench: Bench) -> None:
    """Dialing, greeting, connected; lost: backing off; and dialing again."""
    states = [bench.dialer.state]
    approval: Deferred[None] = Deferred()
    bench.approves = lambda: approval
    bench.endpoint.hangs = True
    bench.dialer.dial()
    states.append(bench.dialer.state)
    bench.network.advance(5.01)  # the attempt times out
    states.append(bench.dialer.state)
    bench.endpoint.hangs = False
    bench.listen()
    bench.network.advance(1)
    states.append(bench.dialer.state)
    approval.callback(None)
    states.append(bench.dialer.state)
    bench.wanted = False
    bench.network.cut(*WHERE)
    bench.network.settle()
    states.append(bench.dialer.state)
    bench.dialer.close()
    states.append(bench.dialer.state)
    assert states == [IDLE, DIALING, BACKING_OFF, GREETING, CONNECTED, IDLE, CLOSED]


def test_a_transition_that_is_not_in_the_table(bench: Bench) -> None:
    """What the table doesn't have is a bug, and said so."""
    with pytest.raises(AssertionError, match="IDLE → CONNECTED"):
        bench.dialer._become(CONNECTED)
    bench.dialer.close()
    with pytest.raises(AssertionError, match="CLOSED → DIALING"):
        bench.dialer._become(DIALING)
