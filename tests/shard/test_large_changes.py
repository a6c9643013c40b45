"""Large changes wait for those before them while others ask: in order, fairly, and only so many."""

from __future__ import annotations

import pytest
from deferreds import watch
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from work import steps

from pyshard.errors import NotConfigured, Overloaded, ShuttingDown, Unavailable
from pyshard.settings import settings
from pyshard.shard.large_changes import ALONE, BESIDE, LargeChanges
from pyshard.shard.small_changes import SMALL
from pyshard.storage import Sender
from pyshard.storage.uncommitted_bytes import UncommittedBytes

ONE, TWO, NEAR, FAR = (Sender(*each) for each in (("a", "c1"), ("a", "c2"), ("b", "c3"), ("c", "c4")))
MOST_ALONE = 3  # of these that are on their way while nobody else asks
LARGE = ALONE // MOST_ALONE
TOOK = 0.02  # seconds until all members have a large change


class Changing:
    """Changes of a shard whose members answer when the test says so.

    :ivar begun: the names of what was begun, in order.
    :ivar at_once: whether all members have it in the same moment.
    :ivar refusal: what it raises instead.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.uncommitted = UncommittedBytes()
        self.large = LargeChanges(self.clock, self.uncommitted)
        self.begun: list[str] = []
        self._under_way: dict[str, Deferred[str]] = {}
        self.refusal: NotConfigured | None = None
        self.at_once = False

    def ask(self, sender: Sender, name: str, weight: int = LARGE) -> list[str | BaseException]:
        """Ask for a change; what it comes to."""

        def begin() -> Deferred[str]:
            if self.refusal is not None:
                raise self.refusal
            self.begun.append(name)
            if self.at_once:
                return succeed(name)
            self._under_way[name] = Deferred()
            return self._under_way[name]

        return watch(self.large.serve(sender, weight, begin))

    def small(self, sender: Sender, name: str) -> list[str | BaseException]:
        """Ask for a small change."""
        return self.ask(sender, name, SMALL)

    def committed(self, *names: str) -> None:
        """All members have these."""
        for name in names:
            self._under_way.pop(name).callback(name)

    def turn(self) -> None:
        """The reactor's next turn: what is due, but for what comes of that."""
        for call in [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]:
            function = call.func
            call.cancel()
            function()


@pytest.fixture
def changing() -> Changing:
    """A shard at which nothing is on its way."""
    return Changing()


def others_ask(changing: Changing, seconds: float, sender: Sender = FAR) -> float:
    """Have somebody ask one small thing after the other, until a large change is begun or the time is over.

    :return: the seconds that have passed.
    """
    before, began = [name for name in changing.begun if name != "small"], changing.clock.seconds()
    while changing.clock.seconds() - began < seconds and [n for n in changing.begun if n != "small"] == before:
        changing.small(sender, "small")
        changing.clock.advance(0.0005)
        changing.committed("small")
        changing.clock.advance(0.0005)
    return changing.clock.seconds() - began


def test_small_changes_never_wait(changing: Changing) -> None:
    """They are begun at once, whatever large ones are on their way or wait."""
    for number in range(MOST_ALONE + 2):
        changing.ask(ONE, f"large {number}")
    asked = changing.small(FAR, "small")
    assert changing.begun[-1] == "small"
    changing.committed("small")
    assert asked == ["small"]


def test_who_asks_alone_has_a_few_on_their_way(changing: Changing) -> None:
    """The primary makes one while members take on others: each that is answered makes room for one more."""
    answers = [changing.ask((ONE, TWO)[number % 2], str(number)) for number in range(MOST_ALONE + 3)]
    assert changing.begun == [str(number) for number in range(MOST_ALONE)]
    changing.committed("0")
    assert (answers[0], len(changing.begun)) == (["0"], MOST_ALONE + 1)
    changing.committed("1", "2")
    changing.turn()
    assert len(changing.begun) == MOST_ALONE + 3
    assert len(changing.large) == 0


def test_beside_others_one_is_on_its_way(changing: Changing) -> None:
    """So a small change has one large one before it at the most; and the next one leaves time to others."""
    changing.small(FAR, "small")
    for number in range(4):
        changing.ask(ONE, f"large {number}")
    assert changing.begun == ["small", "large 0"]
    changing.committed("small")
    changing.clock.advance(TOOK)
    changing.committed("large 0")
    assert others_ask(changing, 1.0) == pytest.approx(6 * TOOK, abs=0.002)
    assert changing.begun[-1] == "large 1"
    assert others_ask(changing, 0.2) >= 0.2  # while that one is on its way no other one is begun


def test_how_many_are_on_their_way(changing: Changing) -> None:
    """Small batches of a bulk load are on their way together, as many as take no longer than a large one or two."""
    for number in range(100):
        changing.ask(ONE, str(number), BESIDE // 4)
        changing.turn()
    assert len(changing.begun) == 4 * ALONE // BESIDE
    beside = Changing()
    beside.small(FAR, "small")
    for number in range(100):
        beside.ask(ONE, str(number), BESIDE // 4)
        beside.turn()
    assert beside.begun == ["small", "0", "1", "2", "3"]
    huge = Changing()
    for number in range(4):
        huge.ask(ONE, str(number), 10 * ALONE)
    assert huge.begun == ["0", "1"]


def test_others_that_have_what_they_asked_for(changing: Changing) -> None:
    """While they wait for it large ones would wait for long. When they ask for nothing more, that is seen soon."""
    changing.small(FAR, "small")
    changing.ask(ONE, "0")
    changing.ask(ONE, "1")
    changing.clock.advance(0.1)
    changing.committed("0")
    changing.clock.advance(0.001)
    changing.committed("small")
    for _ in range(4):
        changing.clock.advance(0.005)
    assert changing.begun == ["small", "0", "1"]


def test_those_who_read_count_too(changing: Changing) -> None:
    """Whoever asks for anything small has the time, and not only who changes something."""
    changing.large.ask(FAR)
    changing.ask(ONE, "0")
    changing.ask(ONE, "1")
    assert changing.begun == ["0"]
    changing.clock.advance(TOOK)
    changing.large.ask(FAR)
    changing.committed("0")
    changing.clock.advance(0.005)
    assert changing.begun == ["0"]
    changing.clock.advance(0.01)  # it asks for nothing more
    assert changing.begun == ["0", "1"]


def test_while_a_small_change_is_on_its_way(changing: Changing) -> None:
    """Who waits for an answer can't ask, and will: large ones wait for it, as long as they ever wait."""
    changing.small(FAR, "small")
    changing.ask(ONE, "0")
    changing.ask(ONE, "1")
    changing.clock.advance(TOOK)
    changing.committed("0")
    changing.clock.advance(5.9 * TOOK)
    assert changing.begun == ["small", "0"]
    changing.clock.advance(0.2 * TOOK)
    assert changing.begun == ["small", "0", "1"]


def test_what_the_sender_itself_asks(changing: Changing) -> None:
    """A bulk load's own small batches don't have its large ones wait."""
    changing.ask(ONE, "0")
    changing.small(ONE, "small")
    changing.large.ask(ONE)
    changing.ask(ONE, "1")
    assert changing.begun == ["0", "small", "1"]


def test_others_that_asked_long_ago(changing: Changing) -> None:
    """Who has asked something once doesn't slow a bulk load down for long."""
    changing.small(FAR, "small")
    changing.committed("small")
    changing.ask(ONE, "0")
    changing.ask(ONE, "1")
    assert changing.begun == ["small", "0"]
    changing.clock.advance(0.5)
    changing.committed("0")
    changing.ask(ONE, "2")
    changing.turn()
    assert changing.begun == ["small", "0", "1", "2"]


def test_small_changes_of_who_waits(changing: Changing) -> None:
    """They don't wait behind the large ones of the same connection: batches in flight have no order."""
    for number in range(MOST_ALONE + 1):
        changing.ask(ONE, str(number))
    assert changing.small(ONE, "small") == []
    assert (changing.begun[-1], len(changing.large)) == ("small", 1)
    changing.committed("0")
    assert changing.begun[-1] == str(MOST_ALONE)


def test_fair_between_addresses(changing: Changing) -> None:
    """Many connections of one address, with much waiting, don't keep another address's large change for long."""
    for number in range(20):
        changing.ask((ONE, TWO)[number % 2], f"a{number}")
    changing.ask(NEAR, "b")
    for _ in range(3):
        changing.committed(next(name for name in changing.begun if name in changing._under_way))
        changing.turn()
    assert "b" in changing.begun


def test_one_in_a_turn(changing: Changing) -> None:
    """Where several may be begun others are served between them."""
    changing.small(FAR, "small")
    for number in range(3):
        changing.ask(ONE, str(number))
    changing.committed("small")
    changing.clock.advance(0.5)
    changing.committed("0")
    changing.clock.rightNow += 0.01
    changing.turn()
    assert changing.begun == ["small", "0", "1"]
    changing.turn()
    assert changing.begun == ["small", "0", "1", "2"]


def test_nothing_is_left_over(changing: Changing) -> None:
    """When all is answered nothing waits, and no call is due."""
    for number in range(10):
        changing.ask((ONE, NEAR, FAR)[number % 3], str(number))
        changing.small(NEAR, f"small {number}")
    for _ in range(100):
        for name in [name for name in changing.begun if name in changing._under_way]:
            changing.committed(name)
        changing.clock.advance(0.1)
    assert (len(changing.large), changing.clock.getDelayedCalls()) == (0, [])
    assert len(changing.begun) == 20


def test_a_connection_that_has_ended(changing: Changing) -> None:
    """Nothing of what waits of it is ever begun, and what waited behind it goes on."""
    for number in range(MOST_ALONE):
        changing.ask(ONE, str(number))
    gone, stays = changing.ask(TWO, "gone"), changing.ask(NEAR, "stays")
    changing.large.forget(TWO)
    changing.turn()
    assert isinstance(gone[0], Unavailable)
    changing.large.forget(TWO)
    changing.committed("0")
    assert changing.begun[-1] == "stays"
    changing.committed("stays")
    assert stays == ["stays"]
    assert "gone" not in changing.begun


def test_what_is_refused_when_it_is_begun(changing: Changing) -> None:
    """What waited fails as it would by then; so do thousands that wait, and the one behind them is begun."""
    for number in range(MOST_ALONE):
        changing.ask(ONE, str(number))
    refused = [changing.ask(ONE, f"refused {number}", SMALL + 1) for number in range(1500)]
    changing.refusal = NotConfigured("another replica leads")
    changing.committed(*[str(number) for number in range(MOST_ALONE)])
    for _ in range(1500):
        changing.turn()
    assert all(each == [changing.refusal] for each in refused)
    changing.refusal = None
    changing.ask(NEAR, "next")
    assert changing.begun[-1] == "next"


def test_what_is_answered_when_it_is_begun(changing: Changing) -> None:
    """However many of these wait, one is begun in each turn."""
    for number in range(MOST_ALONE):
        changing.ask(ONE, str(number))
    answers = [changing.ask(ONE, f"at once {number}", SMALL + 1) for number in range(1500)]
    changing.at_once = True
    changing.committed("0")
    for place in range(1500):
        assert (answers[place], answers[place + 1 :][:1]) == ([f"at once {place}"], [[]][: 1499 - place])
        changing.turn()


def test_what_was_on_its_way_together(changing: Changing) -> None:
    """Of large changes that overlap, each counts from when the one before it was answered."""
    changing.ask(ONE, "0")
    changing.ask(ONE, "1")
    changing.clock.advance(0.1)
    changing.committed("0")
    changing.clock.advance(TOOK)
    changing.committed("1")
    changing.small(FAR, "small")
    changing.ask(ONE, "2")
    changing.committed("small")
    assert others_ask(changing, 1.0) == pytest.approx(6 * TOOK, abs=0.002)


def test_what_takes_very_long(changing: Changing) -> None:
    """Where a member is gone until it is removed, large changes don't wait for many times as long."""
    changing.ask(ONE, "0")
    changing.clock.advance(10)
    changing.committed("0")
    changing.small(FAR, "small")
    changing.ask(ONE, "1")
    changing.committed("small")
    assert others_ask(changing, 5.0) == pytest.approx(1.5, abs=0.002)


def test_a_refusal_at_once(changing: Changing) -> None:
    """What needn't wait and is refused raises that, and counts for nothing."""
    changing.refusal = NotConfigured("another replica leads")
    with pytest.raises(NotConfigured):
        changing.ask(ONE, "never")


def test_bound(changing: Changing) -> None:
    """One address has as much waiting as is still free; another one has room then."""
    half = settings.MAX_COMMIT_BYTES // 2
    for number in range(MOST_ALONE):
        changing.ask(ONE, str(number))
    waiting = changing.ask(ONE, "waits", half)
    refused = changing.ask(TWO, "too much", LARGE)
    assert (waiting, type(refused[0])) == ([], Overloaded)
    assert changing.ask(NEAR, "other", half // 2) == []
    changing.committed("0", "1", "2")
    changing.turn()
    assert changing.begun[-2:] == ["other", "waits"]
    assert changing.ask(TWO, "3", half) == []
    assert len(changing.large) == 1
    changing.large.forget(TWO)
    changing.turn()
    assert changing.ask(TWO, "5", half) == []
    assert changing.ask(NEAR, "6", half // 2) == []
    changing.large.close()
    assert changing.ask(TWO, "7", half) == []


def test_small_changes_are_bounded(changing: Changing) -> None:
    """They are refused before they are begun, by what isn't committed of their address, and of all."""
    room = settings.MAX_COMMIT_BYTES
    changing.uncommitted.made(1, "a", room // 2)  # whoever asked for it has gone
    refused = changing.small(TWO, "never")
    assert (type(refused[0]), changing.begun) == (Overloaded, [])
    assert changing.small(NEAR, "other") == []
    changing.uncommitted.made(2, "b", room // 2 - SMALL)
    assert changing.small(FAR, "the last one") == []
    changing.uncommitted.made(2, "c", SMALL)
    refused = changing.small(FAR, "never")
    assert (type(refused[0]), changing.begun) == (Overloaded, ["other", "the last one"])
    changing.uncommitted.committed(1)
    assert changing.small(TWO, "again") == []


def test_a_large_change_that_need_not_wait(changing: Changing) -> None:
    """It is refused, too, though nothing large waits, and nothing is begun of it."""
    changing.uncommitted.made(1, "a", settings.MAX_COMMIT_BYTES // 2)
    refused = changing.ask(ONE, "never")
    assert (type(refused[0]), changing.begun) == (Overloaded, [])
    assert changing.ask(NEAR, "other") == []


def test_what_waits_counts_once(changing: Changing) -> None:
    """From when it is asked for until it is begun, or never is; then whoever begins it counts it."""
    for number in range(MOST_ALONE):
        changing.ask(ONE, str(number))
    for sender in (ONE, TWO, NEAR):
        changing.ask(sender, "waits")
    assert changing.uncommitted.total == 3 * LARGE
    changing.large.forget(TWO)
    changing.turn()
    assert changing.uncommitted._of == {"a": LARGE, "b": LARGE}
    changing.committed("0", "1", "2")
    changing.turn()
    changing.turn()
    assert changing.begun[MOST_ALONE:] == ["waits", "waits"]
    assert changing.uncommitted.total == 0


def test_stop(changing: Changing) -> None:
    """When the daemon stops what waits is refused, and no call is due."""
    begun = [changing.ask(ONE, str(number)) for number in range(MOST_ALONE)]
    waiting = [changing.ask(ONE, "never"), changing.ask(TWO, "nor this")]
    changing.large.close()
    assert [type(each[0]) for each in waiting] == [ShuttingDown] * 2
    assert (begun, len(changing.large)) == ([[]] * MOST_ALONE, 0)
    assert changing.clock.getDelayedCalls() == []
    assert changing.begun == [*map(str, range(MOST_ALONE))]


def test_many_that_end_at_once(changing: Changing) -> None:
    """What waits is looked through once for all of them, and nothing of theirs is begun meanwhile."""
    for number in range(MOST_ALONE):
        changing.ask(ONE, str(number))
    senders = [Sender("b", f"c{number}") for number in range(300)]
    answers = [changing.ask(sender, f"gone {number}", SMALL + 1) for number, sender in enumerate(senders)]
    looked = 0
    for sender in senders:
        looked += steps(lambda sender=sender: changing.large.forget(sender))  # type: ignore[misc]
    changing.committed(*[str(number) for number in range(MOST_ALONE)])
    assert [type(answer[0]) for answer in answers] == [Unavailable] * 300
    assert looked < 300 * 1000
    assert changing.begun == [str(number) for number in range(MOST_ALONE)]
    changing.turn()
    assert (len(changing.large), changing.clock.getDelayedCalls()) == (0, [])
