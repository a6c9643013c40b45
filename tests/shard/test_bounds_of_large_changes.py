"""What waits of large changes is bounded, and ends with its connection and with the shard."""

from __future__ import annotations

import pytest
from shard.changing import FAR, LARGE, MOST_ALONE, NEAR, ONE, TWO, Changing
from work import steps

from pyshard.errors import NotConfigured, Overloaded, ShuttingDown, Unavailable
from pyshard.settings import settings
from pyshard.shard.small_changes import SMALL
from pyshard.storage import Sender


@pytest.fixture
def changing() -> Changing:
    """A shard at which nothing is on its way."""
    return Changing()


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
