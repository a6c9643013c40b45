"""Whose look-up on the web page is next, and how long one waits."""

from __future__ import annotations

import attrs
import pytest
from deferreds import watch
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap.status_page.look_up_turns import LookUp, LookUpTurns, next_look_up, seconds_for
from pyshard.errors import Overloaded
from pyshard.http.web_page import WebAnswer
from pyshard.settings import settings

MOST = settings.LOOK_UPS
FOUND = WebAnswer(b"found")


def of(origin: str, shard: str) -> LookUp:
    """A look-up that nobody begins."""
    return LookUp(origin, shard, Deferred)


# -- the choice ----------------------------------------------------------------------------------------------------

A1, A2, A3, B1, B3, C4 = of("a", "1"), of("a", "2"), of("a", "3"), of("b", "1"), of("b", "3"), of("c", "4")


@pytest.mark.parametrize(
    ("waiting", "under_way", "expected"),
    [
        ([], [], None),
        ([A1, A2], [], A1),
        ([A3], [A1, A2], None),  # it has half of the places
        ([A3, B3], [A1, A2], B3),
        ([A1, A2], [B1], A2),  # another key of that shard is looked up
        ([B1], [A1], None),
        ([A2, B3], [A1], B3),  # it has none under way
        ([C4], [A1, A2, B3, of("d", "5")], None),  # there are as many as may be
    ],
)
def test_next(waiting: list[LookUp], under_way: list[LookUp], expected: LookUp | None) -> None:
    """Few at a time, each at another shard, and at most half of them of one address, of the others first."""
    assert next_look_up(waiting, under_way, {}, 4) is expected


def test_next_of_those_that_had_some() -> None:
    """Of addresses with as many under way, the one comes first that had one longest ago, or never."""
    waiting = [A1, A2, B3, C4]
    assert next_look_up(waiting, [], {"a": 3, "b": 2}, 4) is C4
    assert next_look_up(waiting, [], {"a": 3, "b": 2, "c": 4}, 4) is B3
    assert next_look_up(waiting, [], {"a": 1, "b": 2, "c": 4}, 4) is A1


def test_one_place() -> None:
    """With a single place, an address may have it."""
    assert next_look_up([A1], [], {}, 1) is A1
    assert next_look_up([A2], [A1], {}, 1) is None


def test_seconds() -> None:
    """A large record takes tens of milliseconds, also one that isn't shown; a small one hardly any."""
    assert seconds_for(0) <= 0.002
    assert 0.01 <= seconds_for(settings.SHOWN_RECORD_BYTES) <= 0.02
    assert 0.03 <= seconds_for(16 * 1024 * 1024) <= 0.06


# -- the turns -----------------------------------------------------------------------------------------------------


@attrs.define
class Bench:
    """Turns by a clock of their own."""

    clock: Clock = attrs.field(factory=Clock)
    begun: dict[str, Deferred[WebAnswer]] = attrs.field(factory=dict)
    turns: LookUpTurns = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turns = LookUpTurns(self.clock)

    def ask(self, name: str, origin: str, shard: str = "") -> tuple[LookUp, list[WebAnswer | BaseException]]:
        """Ask for one, and note its answer.

        :param shard: the one that it asks; empty: one of its own.
        """

        def begin() -> Deferred[WebAnswer]:
            self.begun[name] = Deferred()
            return self.begun[name]

        made = LookUp(origin, shard or name, begin)
        heard = watch(made.answer)
        self.turns.add(made)
        return made, heard


@pytest.fixture
def bench() -> Bench:
    """Nothing was asked for yet."""
    return Bench()


def test_one_address_leaves_places(bench: Bench) -> None:
    """However many it asks for, somebody else's begins at once; its own go on one by one."""
    for number in range(20):
        bench.ask(f"many{number}", "192.0.2.1")
    assert list(bench.begun) == [f"many{number}" for number in range(MOST // 2)]
    _, heard = bench.ask("other", "192.0.2.2")
    assert list(bench.begun)[-1] == "other"
    bench.begun["other"].callback(FOUND)
    assert heard == [FOUND]
    bench.begun["many0"].callback(FOUND)
    assert list(bench.begun)[-1] == f"many{MOST // 2}"


def test_behind_several_addresses(bench: Bench) -> None:
    """Where others have all places, a newcomer has the next one that is free."""
    for number in range(20):
        for origin in range(MOST):
            bench.ask(f"many{number}-{origin}", f"192.0.2.{origin}")
    assert len(bench.begun) == MOST
    for _ in range(3):
        _, heard = bench.ask("other", "198.51.100.1")
        assert "other" not in bench.begun
        next(reversed(bench.begun.values())).callback(FOUND)
        bench.begun.pop("other").callback(FOUND)
        assert heard == [FOUND]


def test_time_to_wait(bench: Bench) -> None:
    """One that waits is refused when it has waited as long as it may; one that was begun isn't."""
    bench.ask("first", "192.0.2.1", "shard")
    _, refused = bench.ask("second", "192.0.2.2", "shard")
    bench.clock.advance(settings.LOOK_UP - 0.1)
    _, heard = bench.ask("third", "192.0.2.3", "shard")
    assert refused == []
    bench.clock.advance(0.2)
    assert isinstance(refused[0], Overloaded)
    bench.begun["first"].callback(FOUND)
    assert list(bench.begun) == ["first", "third"]
    bench.clock.advance(2 * settings.LOOK_UP)
    bench.begun["third"].callback(FOUND)
    assert heard == [FOUND]
    assert bench.clock.getDelayedCalls() == []


def test_who_leaves(bench: Bench) -> None:
    """What waits isn't begun; what was begun keeps its place, so that leaving is no way to more places."""
    gone, _ = bench.ask("first", "192.0.2.1", "shard")
    left, heard = bench.ask("second", "192.0.2.2", "shard")
    bench.ask("third", "192.0.2.3", "shard")
    for look_up in (gone, left):
        bench.turns.leave(look_up)
    assert list(bench.begun) == ["first"]
    bench.begun["first"].callback(FOUND)
    assert list(bench.begun) == ["first", "third"]
    bench.clock.advance(2 * settings.LOOK_UP)
    assert heard == []


def test_rest(bench: Bench) -> None:
    """After one that took long all else has some times as long, whoever asks; then the next one begins."""
    bench.turns.rest(0.1)
    bench.turns.rest(0.1)
    bench.ask("first", "192.0.2.1")
    bench.ask("second", "192.0.2.2")
    bench.clock.advance(0.7)
    assert bench.begun == {}
    bench.clock.advance(0.2)
    assert list(bench.begun) == ["first", "second"]


def test_failures_are_told(bench: Bench) -> None:
    """One that fails makes room as others do; it is the page that logs it."""
    _, heard = bench.ask("first", "192.0.2.1", "shard")
    bench.ask("second", "192.0.2.1", "shard")
    error = ValueError("unexpected")
    bench.begun["first"].errback(error)
    assert heard == [error]
    assert "second" in bench.begun


def test_addresses_are_forgotten(bench: Bench) -> None:
    """What isn't under way, and doesn't wait, leaves nothing behind."""
    for number in range(100):
        made, _ = bench.ask(f"{number}", f"192.0.2.{number}", f"{number % 2}")
        if number % 3 == 0:
            bench.turns.leave(made)
    while bench.begun:
        bench.begun.popitem()[1].callback(FOUND)
    assert bench.turns._last == {}
    assert bench.clock.getDelayedCalls() == []
