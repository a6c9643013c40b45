"""What writers may write for the sake of a copy, and of who follows; both end, whatever writers would write."""

from __future__ import annotations

from math import inf

import attrs
import pytest
from shard.admitted import admit

from pyshard.settings import settings
from pyshard.shard.follower_allowance import _SLOWED_AT_MOST, FollowerAllowance
from pyshard.shard.slowed_writers import WriterPace

MB = 1_000_000
ROOM = 256 * MB


def test_a_copy_that_is_not_late() -> None:
    """Beside one that is fast enough nobody is slowed, however little is left of it."""
    allowance = FollowerAllowance()
    allowance.begin_copy(0.0)
    allowance.copying(1.0, 10 * MB, ROOM, 1 * MB, 1000 * MB)
    assert allowance.rate == inf  # almost nothing is kept
    allowance.copying(2.0, 60 * MB, ROOM, 900 * MB, 1000 * MB)
    assert allowance.rate == inf


def test_a_copy_that_was_late() -> None:
    """It gets what is left to its end, so that writers aren't slowed down and let go again and again."""
    allowance, found = FollowerAllowance(), []
    allowance.begin_copy(0.0)
    for second in range(1, 4):
        allowance.copying(second, 10 * MB, ROOM, 100 * MB * second, 1000 * MB)
        found.append(allowance.rate)
    assert found == [inf, inf, inf]
    allowance.copying(4.0, 80 * MB, ROOM, 400 * MB, 1000 * MB)
    assert allowance.rate == 112 * MB / 10
    allowance.copying(5.0, 80 * MB, ROOM, 600 * MB, 1000 * MB)
    assert allowance.rate == 112 * MB / 10


def test_what_is_left_is_shared_out() -> None:
    """What is left of three quarters of the bound, divided by the seconds that the copy will take at its pace."""
    allowance = FollowerAllowance()
    allowance.begin_copy(0.0)
    allowance.copying(10.0, 64 * MB, ROOM, 100 * MB, 1000 * MB)
    assert allowance.rate == pytest.approx(128 * MB / 90)


def test_a_copy_that_is_begun_again() -> None:
    """Writers are slowed from its first moment on."""
    allowance = FollowerAllowance()
    allowance.begin_copy(0.0)
    allowance.copying(1.0, 0, ROOM, 0, 1000 * MB)
    assert allowance.rate == inf
    allowance.begin_copy(2.0)
    allowance.copying(2.0, 0, ROOM, 0, 1000 * MB)
    assert allowance.rate == pytest.approx(192 * MB / 60)
    assert allowance.copies == 2


def test_a_copy_that_takes_too_long() -> None:
    """Nobody is slowed for a copy that would end behind the time for which changes are kept."""
    allowance = FollowerAllowance()
    allowance.begin_copy(0.0)
    allowance.copying(10.0, 100 * MB, ROOM, 1 * MB, 1000 * MB)
    assert allowance.rate == inf


def test_writers_get_something_in_any_case() -> None:
    """As much as is kept in the time for which it is: so bytes don't end a copy."""
    allowance = FollowerAllowance()
    allowance.begin_copy(0.0)
    allowance.copying(10.0, ROOM, ROOM, 100 * MB, 1000 * MB)
    assert allowance.rate == ROOM / settings.FOLLOWED_LOG_SECONDS


def test_half_again_and_again() -> None:
    """Who doesn't catch up has writers get half of what they had, until it does."""
    allowance, found = FollowerAllowance(), []
    for second in range(13):
        allowance.following(second, 0, ROOM, 1000, True, 40 * MB)
        found.append(allowance.rate)
    assert found == [inf] * 3 + [20 * MB] * 3 + [10 * MB] * 3 + [5 * MB] * 3 + [2.5 * MB]
    for second in range(13, 30):
        allowance.following(second, 0, ROOM, 1000 >> (second - 12) // 2, True, 40 * MB)
    assert allowance.rate == 2.5 * MB


def test_not_late() -> None:
    """Nobody is slowed for a follower that lacks something for a moment."""
    allowance = FollowerAllowance()
    for second in range(9):
        allowance.following(second, 0, ROOM, 1000, False, 40 * MB)
    assert allowance.rate == inf


def test_what_is_kept_behind_a_copy() -> None:
    """What is left of the bound isn't used up, also while a follower isn't late."""
    allowance = FollowerAllowance()
    allowance.following(0.0, 128 * MB, ROOM, 1000, False, 40 * MB)
    assert allowance.rate == inf
    allowance.following(1.0, 192 * MB, ROOM, 1000, False, 40 * MB)
    assert allowance.rate == pytest.approx(0.15 * ROOM / 10)


def test_even_again() -> None:
    """Writers get more little by little, then as much as they like."""
    allowance, found = FollowerAllowance(rate=4 * MB, copies=3), []
    for second in range(10):
        allowance.even(second, 5 * MB)
        found.append(allowance.rate)
    assert found[:3] == [4 * MB, 5 * MB, 6.25 * MB]
    assert found[7] < inf
    assert found[8] == inf
    assert allowance.copies == 0


@attrs.define
class Simulated:
    """A shard, who copies and follows it, and its writers; by a clock of its own.

    :param rate: bytes a second that writers would write.
    :param batch: bytes of each of their batches.
    :param addresses: how many they have.
    :param times: bytes that are written for each byte of a batch.
    :param size: bytes of the copy.
    :param pace: bytes of it that are read in a second.
    :param intake: bytes of changes that the follower takes in a second.
    """

    rate: float
    batch: int
    addresses: int = 1
    times: int = 1
    size: int = 500 * MB
    pace: float = 10 * MB
    intake: float = 10 * MB
    now: float = 0.0
    written: int = 0
    offered: float = 0.0
    refused: int = 0
    copies: int = 0
    pace_of: WriterPace = attrs.field(factory=WriterPace)
    allowance: FollowerAllowance = attrs.field(factory=FollowerAllowance)

    def write(self, kept: int, copied: int | None, late: bool) -> None:
        """Writers write all that they can in a twentieth of a second, without a look at answers."""
        before, self.offered = self.written, self.offered + self.rate * 0.05
        batches = int(self.offered / self.batch)
        self.offered -= batches * self.batch

        def allowed(wrote: float) -> float:
            now_kept = kept + self.written - before
            if copied is not None:
                self.allowance.copying(now, now_kept, ROOM, copied, self.size)
            else:
                self.allowance.following(now, now_kept, ROOM, now_kept // self.batch, late, wrote)
            return self.allowance.rate

        for number in range(batches):
            now = self.now + 0.05 * number / batches
            if self.pace_of.is_due(now, self.written, 0.02 * ROOM):
                self.pace_of.look(now, self.written, allowed)
            if admit(self.pace_of, self.batch, now, f"address {number % self.addresses}") is None:
                self.refused += 1
            else:
                self.written += self.batch * self.times
        self.now += 0.05

    def ends(self, seconds: float) -> float | None:
        """When the follower is even, if it is in time; copies are begun anew as often as it takes."""
        while self.now < seconds:
            self.copies += 1
            self.allowance.begin_copy(self.now)
            head, copied = self.written, 0
            while copied < self.size and self.written - head <= ROOM and self.now < seconds:
                self.write(self.written - head, copied, False)
                copied += round(self.pace * 0.05)
            taken, began = head, self.now
            while self.written - taken <= ROOM and self.now < seconds:
                if self.written - taken <= 1 * MB:
                    return self.now
                self.write(self.written - taken, None, self.now - began >= 10)
                taken += round(self.intake * 0.05)
        return None


@pytest.mark.parametrize("rate", [1 * MB, 8 * MB, 40 * MB, 60 * MB, 300 * MB, 1000 * MB])
@pytest.mark.parametrize(("batch", "addresses"), [(50_000, 1), (1 * MB, 1), (1 * MB, 40), (16 * MB, 3)])
def test_a_copy_ends(rate: int, batch: int, addresses: int) -> None:
    """Whatever is written, the copy ends, at the second time at the latest, and the follower catches up."""
    simulated = Simulated(rate, batch, addresses)
    ended = simulated.ends(600)
    assert ended is not None
    assert simulated.copies <= 2
    if rate == 1 * MB:
        assert not simulated.refused


@pytest.mark.parametrize("times", [3, 500])
def test_changes_that_write_more_than_they_bring(times: int) -> None:
    """Such as touches of large documents."""
    simulated = Simulated(1 * MB, 10_000, 4, times)
    assert simulated.ends(600) is not None
    assert simulated.copies <= 2


def test_a_slow_follower() -> None:
    """Also when it takes a hundredth of what is written."""
    assert Simulated(60 * MB, 50_000, 2, intake=0.6 * MB, size=50 * MB).ends(900) is not None


# -- who never has all -----------------------------------------------------------------------------------------------


def slowed(seconds: int, catches_up_at: int | None = None) -> list[bool]:
    """Whether writers are slowed in each second, by a follower that never lacks less, or that has all once."""
    allowance, found = FollowerAllowance(), []
    for second in range(seconds):
        if second == catches_up_at:
            allowance.even(second, 1 * MB)
        else:
            allowance.following(second, 10 * MB, ROOM, 1000, second >= 10, 20 * MB)
        found.append(allowance.rate != inf)
    return found


def test_who_never_catches_up_is_let_go() -> None:
    """Writers are slowed for some minutes, and then not for ten times as long; and so on."""
    found = slowed(3600)
    changes = [second for second in range(1, 3600) if found[second] != found[second - 1]]
    begun, ended, again, ended_again = changes[:4]
    assert begun < 20
    assert settings.MOVE_CATCHES_UP < ended - begun < settings.MOVE_CATCHES_UP + 60
    assert again - ended > 10 * settings.MOVE_CATCHES_UP
    assert ended_again - again < settings.MOVE_CATCHES_UP + 60
    assert sum(found) < 600


def test_who_has_caught_up_is_not_let_go() -> None:
    """The time counts from when it had all last: a slow one that does come to its end is waited for."""
    let_go = slowed(200).index(False, 20)
    assert all(slowed(let_go + 20, catches_up_at=let_go - 20)[20:])


def test_who_catches_up_slowly_is_not_let_go() -> None:
    """As long as it lacks less and less it is waited for, up to ten minutes."""
    for less, is_let_go in ((0.997, False), (0.999, True)):
        allowance, lacks, rates = FollowerAllowance(), 1_000_000.0, []
        for second in range(550):
            lacks *= less
            allowance.following(second, 10 * MB, ROOM, int(lacks), second >= 10, 20 * MB)
            rates.append(allowance.rate)
        assert (inf in rates[20:]) == is_let_go


GIB = 1024**3


def slowed_by_a_copy(size: int, lasts: int, seconds: int) -> int:
    """In how many seconds writers are slowed by a copy that is read slowly, begun again, and read again."""
    allowance, found = FollowerAllowance(), 0
    for second in range(seconds):
        at = second % lasts
        if not at:
            allowance.begin_copy(second)
        allowance.copying(second, ROOM // 2, ROOM, size * at // lasts, size)
        found += allowance.rate != inf
    return found


def test_a_copy_that_is_read_slowly() -> None:
    """Its reader says how fast that is: writers are slowed for ten minutes, and then for a tenth of the time."""
    assert slowed_by_a_copy(1 * GIB, 3000, 36_000) < 0.1 * 36_000 + _SLOWED_AT_MOST
    assert slowed_by_a_copy(1 * GIB, 500, 36_000) < 0.1 * 36_000 + _SLOWED_AT_MOST
    assert slowed_by_a_copy(1 * GIB, 590, 590) > 580


def test_a_large_copy() -> None:
    """It may have writers slowed for longer: eight times as long as it takes at full pace."""
    assert slowed_by_a_copy(12 * GIB, 3000, 3000) > 2900
    assert slowed_by_a_copy(8 * GIB, 3000, 3000) < 2200


def test_who_has_all_now_and_then() -> None:
    """That is its own word, too: writers are slowed for it for no longer."""
    allowance, found = FollowerAllowance(), 0
    for second in range(36_000):
        if second % 100 < 5:
            allowance.even(second, 1 * MB)
        else:
            allowance.following(second, 10 * MB, ROOM, 1000, True, 20 * MB)
        found += allowance.rate != inf
    assert found < 0.1 * 36_000 + _SLOWED_AT_MOST
