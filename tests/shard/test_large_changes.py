"""Large changes wait for those before them while others ask: in order, fairly, and only so many."""

from __future__ import annotations

import pytest
from shard.changing import FAR, MOST_ALONE, NEAR, ONE, TOOK, TWO, Changing

from pyshard.errors import NotConfigured
from pyshard.shard.large_changes import ALONE, BESIDE
from pyshard.shard.small_changes import SMALL
from pyshard.storage import Sender


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
