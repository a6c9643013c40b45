"""A staggered race, by value: who starts when, who wins, and who is cancelled."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.net.staggered_race import RaceLost, StaggeredRace


class Track:
    """Candidates a, b and c, each with a head start of a second; notes who starts and who is cancelled."""

    def __init__(self, deadline: float | None = None) -> None:
        self.clock = Clock()
        self.started: list[tuple[float, str]] = []
        self.cancelled: list[str] = []
        self.attempts: dict[str, Deferred[str]] = {}
        self.outcome: list[Any] = []
        self.at_once: dict[str, str | Exception] = {}
        self.race = StaggeredRace(self.clock, self, "abc", deadline)

    def attempt(self, candidate: str) -> Deferred[str]:
        self.started.append((self.clock.seconds(), candidate))
        attempt: Deferred[str] = Deferred(lambda _: self.cancelled.append(candidate))
        self.attempts[candidate] = attempt
        outcome = self.at_once.get(candidate)
        if isinstance(outcome, str):
            attempt.callback(outcome)
        elif outcome is not None:
            attempt.errback(outcome)
        return attempt

    def head_start(self, candidate: str) -> float:
        return 1.0

    def start(self) -> Deferred[str]:
        """Start the race; its outcome is noted."""
        winner = self.race.start()
        winner.addBoth(self.outcome.append)
        return winner


@pytest.fixture
def track() -> Track:
    """A race that has not started."""
    return Track()


def failures_in(outcome: list[Any]) -> list[str]:
    """The messages of the failures of a lost race."""
    [failure] = outcome
    assert isinstance(failure, Failure)
    assert isinstance(failure.value, RaceLost)
    return [str(lost.value) for lost in failure.value.failures]


def test_head_starts(track: Track) -> None:
    """Each candidate starts when the head start of the one before is over."""
    track.start()
    for _ in range(50):
        track.clock.advance(0.1)
    assert [candidate for _, candidate in track.started] == ["a", "b", "c"]
    assert [when for when, _ in track.started] == pytest.approx([0, 1, 2], abs=0.11)
    assert track.outcome == []


def test_first_success_wins(track: Track) -> None:
    """The first success ends the race: the others are cancelled, nobody starts any more, no timer is left."""
    track.start()
    track.clock.advance(1)
    track.attempts["b"].callback("B")
    assert (track.outcome, track.cancelled) == (["B"], ["a"])
    assert track.clock.getDelayedCalls() == []


def test_success_at_once(track: Track) -> None:
    """A candidate that succeeds at once is the only one that starts."""
    track.at_once["a"] = "A"
    track.start()
    assert (track.outcome, len(track.started), track.clock.getDelayedCalls()) == (["A"], 1, [])


def test_failure_starts_the_next_at_once(track: Track) -> None:
    """Nobody waits for a head start whose candidate has failed; the next one's is counted from its own start."""
    track.start()
    track.clock.advance(0.25)
    track.attempts["a"].errback(ValueError("a"))
    track.clock.advance(0.9)
    assert track.started == [(0, "a"), (0.25, "b")]
    track.clock.advance(0.1)
    assert track.started[2] == (1.25, "c")


def test_all_fail(track: Track) -> None:
    """The race is lost when the last attempt has failed, with all failures in their order."""
    track.start()
    track.clock.advance(2)
    for candidate in "bca":
        assert track.outcome == []
        track.attempts[candidate].errback(ValueError(candidate))
    assert failures_in(track.outcome) == ["b", "c", "a"]


def test_all_fail_at_once(track: Track) -> None:
    """Candidates that fail at once are tried one after the other in one go."""
    track.at_once = {candidate: ValueError(candidate) for candidate in "abc"}
    track.start()
    assert failures_in(track.outcome) == ["a", "b", "c"]
    assert track.clock.getDelayedCalls() == []


def test_cancel(track: Track) -> None:
    """Cancelling the race cancels every attempt, and nobody starts any more."""
    winner = track.start()
    track.clock.advance(1)
    winner.cancel()
    assert track.cancelled == ["a", "b"]
    assert isinstance(track.outcome[0].value, CancelledError)
    assert track.clock.getDelayedCalls() == []


def test_nobody_starts_after_the_deadline() -> None:
    """A failure past the deadline starts nobody: the race is lost with what there is."""
    track = Track(deadline=0.5)
    track.start()
    track.clock.advance(0.75)
    track.attempts["a"].errback(ValueError("a"))
    assert failures_in(track.outcome) == ["a"]
    assert (len(track.started), track.clock.getDelayedCalls()) == (1, [])
