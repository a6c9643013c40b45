"""Shares: how much of a daemon's time each address has had, and which one waits now for the sake of the others. Pure.

Whoever asks one small thing at a time isn't there to be served while its answer travels. So a daemon that goes on with
another's things whenever nobody waits has each small thing come in the middle of those.

Rules:

- An address that asks alone has all of the time.
- Beside others, an address that has had as much of a turn of the reactor as is usual waits for the next turn. So for a
  small thing others wait for a box or two of it, while busy addresses share long turns.
- A box that takes long can't be divided. So after it the time is left to those who ask smaller things, for up to four
  times as long as it took. How long depends on what they use: a busy client counts fully, a ping now and then hardly.
  It is more than in proportion, since who is held up uses little. Those who use several times as much themselves are
  left nothing: a client whose boxes take a little longer doesn't wait for a flood of smaller ones.
- An address that asks for more than it gets leaves time to those who use less than it, whatever they ask for: up to as
  long again as its boxes took, and up to four times as long where others would notice each of them.
- Who asks for no more than it gets isn't counted in what is usual. So beside one thing at a time turns are short.
- How long boxes take is judged by the time that goes into them, not by their number. Small boxes between large ones
  change nothing, nor do new connections.
- Connections whose boxes take long have an account of their own in each address. So they leave time to the others of
  that address, too.
- All time counts that is spent for an address: to accept, to read, to decrypt, to serve and to write.
"""

from __future__ import annotations

from math import exp, inf, sqrt

from pyshard.server.use_by_others import HIGHEST, MEMORY, Use, UseByOthers, level_of

#: Seconds of a turn of the reactor that one address has at once beside others, if those have no more.
QUANTUM = 0.00003

#: Seconds of a pause that is worth a turn of the reactor.
SHORTEST_PAUSE = QUANTUM / 2

#: Seconds of a box that isn't worth to be noted while an address asks alone. One that takes longer may be a long one.
SHORT = 0.00015

#: Seconds of a processor that a commit takes however little it changes. They make no box a long one.
COMMIT = 0.0005

#: The part of what an address's long boxes take that a box of it must take to be one of them.
ALIKE = 0.25

#: What stands behind an address in the name of the account of its long boxes.
LONG = ", long boxes"

#: Seconds after which an address that was read from counts no longer as one that asks.
ASKS = 0.02

_USUAL = 1.2  # times what an address has on the average in a turn, one may have
_LONG_TURN = 0.001  # seconds in a turn that count in the average at the most
_OF_ONE_TURN = 0.02  # weight of one turn of one address in that average
_MOST_OF_A_BOX = 2 * QUANTUM  # seconds that count: a small box may seem to take more where processors are few
_MOST_LEFT = 0.8  # part of the time that is left to others at the most, so that a fifth is the address's own
_LEFT = 4.0  # the time that is left to those who ask smaller things: the root of this times what their boxes use
_OWN_USE = 0.06  # part of the time that what a daemon reads itself counts as, at the least: half is left to it so
_TO_LIGHTER = (2.0, 0.5)  # times what those use who use less: so much is left to them, and the most of the time
_TO_LIGHTER_UNDIVIDED = (8.0, _MOST_LEFT)  # the same of boxes that others notice each
_BEHIND = 0.005  # seconds for which who had to wait for more of its turn counts as one that asks for more
_SMALLER = 3  # levels by which others' boxes must be smaller, to be left the time
_LONGEST = 1.0  # seconds that anything counts, and that an address waits, at the most
_FEW = 1000  # accounts that are never looked through


class BoxTimes:
    """How long the boxes of one connection took of late: on the average of the time, not of the boxes.

    :ivar used: the seconds of late, older ones with less weight.
    """

    __slots__ = ("_at", "_squares", "used")

    def __init__(self) -> None:
        self.used = self._squares = self._at = 0.0

    def add(self, used: float, boxes: float, now: float) -> None:
        """Count boxes, and the seconds that they took together."""
        used = min(used, _LONGEST)
        weight = exp(min(0.0, self._at - now) / MEMORY)
        self.used = self.used * weight + used
        self._squares = self._squares * weight + used * used / boxes
        self._at = now

    @property
    def average(self) -> float:
        """Seconds."""
        return self._squares / self.used if self.used else 0.0


class _Account(Use):
    """What one address has used, and when it is served.

    :ivar due: when it may be served again.
    :ivar turn: the turn of the reactor in which it was served last.
    :ivar in_turn: seconds that it has had in that turn.
    :ivar wants_more: whether it has had all that it may have in that turn, and asks for more.
    :ivar behind_until: until then it counts as one that asks for more than it gets.
    """

    __slots__ = ("behind_until", "due", "in_turn", "turn", "wants_more")

    def __init__(self, whole: Use) -> None:
        super().__init__(whole)
        self.due = self.in_turn = self.behind_until = 0.0
        self.turn = -1
        self.wants_more = False


class AddressShares:
    """The shares of all addresses in one daemon's time. All times are in seconds of one clock.

    :ivar contended: whether several addresses ask; if so, `room` must be asked. It may be so for longer than it holds.
    :ivar last: the address that was charged last.
    :ivar last_at: when that was.
    :ivar own_until: until then the daemon has something to read itself, now and then, for which others wait elsewhere.
    """

    def __init__(self) -> None:
        self.contended = False
        self._contended_until = 0.0
        self._accounts: dict[str, _Account] = {}
        self._most_accounts = _FEW
        self.last = ""
        self.last_at = -ASKS
        self._latest_due = 0.0
        self._usual = QUANTUM  # seconds that an address may have in one turn
        self._average = 0.0  # seconds that one has had
        self._use = UseByOthers()
        self.own_until = -inf
        self._waited_until = 0.0  # what answers have waited elsewhere is counted up to then

    def charge(
        self, origin: str, used: float, now: float, turn: int, boxes: float = 1, elsewhere: bool = False
    ) -> None:
        """Count what was done for an address.

        :param used: the seconds that it took.
        :param turn: the number of the reactor's turn.
        :param boxes: how many boxes it was; less than 1: which part of one; 0: anything else that can't be divided.
        :param elsewhere: it was done by another thread, or isn't counted in what the address has of this turn.
        """
        if now >= self._contended_until:
            self.contended = False
            if origin == self.last and used < SHORT:  # alone, and nothing that took long
                self.last_at = now
                return
        used = min(used, _LONGEST)
        account = self._account_of(origin)
        beside = origin != self.last and now - used - self.last_at < ASKS
        if beside or account.due <= now < self._latest_due:  # somebody waits for this one
            self.contended, self._contended_until = True, now + ASKS
        self.last, self.last_at = origin, now
        account.add(used, boxes or 1, min(used, _MOST_OF_A_BOX) if boxes >= 1 else 0.0, now)
        account.whole.add(used, 1, 0.0, now)
        if account.turn != turn:
            of_turn = min(account.in_turn, _LONG_TURN) if account.wants_more else 0.0
            self._average += (of_turn - self._average) * _OF_ONE_TURN
            self._usual = max(QUANTUM, self._average * _USUAL)
            account.turn, account.in_turn, account.wants_more = turn, 0.0, False
        if not elsewhere:
            account.in_turn += used
        if left := self._left_by(account, now):
            pause = used * left / (1 - left)
            account.due = min(max(account.due, now) + pause, now + _LONGEST)
            self._latest_due = max(self._latest_due, account.due)

    def count_waiting(self, origin: str, seconds: float, now: float) -> None:
        """Count that somebody has waited for something small that goes on elsewhere, such as at replicas, until now.

        To those who ask for larger things that is as if this daemon had worked on it. Else they would have all of the
        time in which the others wait, and these would find it busy each time. What several wait for at once counts
        once.
        """
        waited = now - max(now - seconds, self._waited_until)
        self._waited_until = max(self._waited_until, now)
        account = self._accounts.get(origin)
        if account is not None and waited > 0 and now < self._contended_until:
            account.add(0.0, 1, waited, now)

    def room(self, origin: str, now: float, turn: int) -> float:
        """Seconds for which an address may be served in this turn; 0: it waits; infinity: nobody else asks."""
        account = self._accounts.get(origin)
        if now >= self._contended_until:
            return inf
        if account is None:
            return self._usual
        if account.due > now + SHORTEST_PAUSE:
            account.behind_until = now + _BEHIND
            return 0.0
        if account.turn != turn:
            return self._usual
        left = self._usual - account.in_turn
        if left > 0:
            return left
        account.wants_more, account.behind_until = True, now + _BEHIND
        return 0.0

    def wait(self, origin: str, now: float) -> float:
        """Seconds until an address may be served again, if nobody asks anything until then; 0: in the next turn."""
        account = self._accounts.get(origin)
        return 0.0 if account is None else max(0.0, min(account.due, self._contended_until) - now)

    def debt(self, origin: str, now: float) -> float:
        """Seconds that an address has yet to wait for what it had; 0 if no others ask."""
        return self._accounts[origin].due - now if self.wait(origin, now) > 0 else 0.0

    def move(self, before: str, origin: str) -> None:
        """Have one that was counted for an address count for another one: that isn't somebody else who asks."""
        if self.last == before:
            self.last = origin

    def average(self, origin: str, now: float) -> float:
        """How long the boxes of an address took of late, in seconds: on the average of the time; 0: it had none."""
        account = self._accounts.get(origin)
        if account is None or not account.used or now - account.at > 10 * MEMORY:
            return 0.0
        return account.average

    # ------------------------------------------------------------------ inside

    def _account_of(self, origin: str) -> _Account:
        account = self._accounts.get(origin)
        if account is None:
            if len(self._accounts) >= self._most_accounts:
                self._forget_some()
            other = self._accounts.get(origin.removesuffix(LONG) if origin.endswith(LONG) else origin + LONG)
            account = self._accounts[origin] = _Account(other.whole if other is not None else Use())
        return account

    def _forget_some(self) -> None:
        """Forget the addresses of which nothing counts any more."""
        late = self.last_at - 10 * MEMORY
        self._accounts = {
            origin: account
            for origin, account in self._accounts.items()
            if account.at > late or account.due > self.last_at
        }
        self._most_accounts = 2 * len(self._accounts) + _FEW  # so that each look is paid for by as many accounts

    def _left_by(self, account: _Account, now: float) -> float:
        """Which part of the time an address leaves to others, after what it has just had."""
        use, level = self._use, level_of(account.average)
        if not use.is_fresh(now):
            use.note(self._accounts.values(), now)
        left = 0.0
        if level >= _LONG_LEVEL:
            smaller = use.part(account, 1, level - _SMALLER)
            if now < self.own_until and level >= _OWN_LEVEL:
                smaller = max(smaller, _OWN_USE)
            left = min(sqrt(smaller * _LEFT), _MOST_LEFT)
        if account.behind_until > now:
            lighter = use.part(account, -1, HIGHEST)
            times, most = _TO_LIGHTER if level < _UNDIVIDED else _TO_LIGHTER_UNDIVIDED
            left = max(left, min(times * lighter, most))
        return left


_LONG_LEVEL = level_of(SHORT)
_UNDIVIDED = level_of(2 * QUANTUM)  # from which on others notice each box
_OWN_LEVEL = level_of(0.0003)  # from which on boxes are long beside what the daemon reads itself
