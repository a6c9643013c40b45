"""A timer for many deadlines."""

from __future__ import annotations

from twisted.internet.task import Clock

from pyshard.client.deadline_timer import DeadlineTimer


def test_earliest() -> None:
    """Of several times the earliest counts; a later one changes nothing."""
    clock, due = Clock(), list[float]()
    timer = DeadlineTimer(clock, lambda: due.append(clock.seconds()))
    for at in (5.0, 3.0, 4.0):
        timer.set_by(at)
    assert (timer.at, len(clock.getDelayedCalls())) == (3.0, 1)
    clock.advance(10)
    assert due == [10.0]
    assert (timer.at, clock.getDelayedCalls()) == (float("inf"), [])


def test_a_time_that_is_over() -> None:
    """A time in the past is due in the next turn."""
    clock, due = Clock(), list[float]()
    clock.advance(5)
    timer = DeadlineTimer(clock, lambda: due.append(clock.seconds()))
    timer.set_by(1.0)
    assert due == []
    clock.advance(0)
    assert due == [5.0]


def test_cancel_and_set_again() -> None:
    """After cancelling nothing is called, and another time can be set, from the call itself as well."""
    clock, due = Clock(), list[float]()

    def call() -> None:
        due.append(clock.seconds())
        if len(due) < 3:
            timer.set_by(clock.seconds() + 1)

    timer = DeadlineTimer(clock, call)
    timer.set_by(1.0)
    timer.cancel()
    timer.cancel()
    clock.advance(2)
    assert due == []
    timer.set_by(2.5)
    clock.pump([0.5, 1, 1, 1])
    assert due == [2.5, 3.5, 4.5]
