"""Turns of look-ups on the web page: few at a time, and fair between the addresses that they come from.

A look-up has a shard asked, which may be silent for seconds, and an answer may have 16 MiB.

Rules:

- So many are under way (`LOOK_UPS`), each at another shard, at most half of them from one address. Further ones wait.
- Of those that wait, the next one is of the address that has fewest under way. Of equals it is the one whose last
  look-up began longest ago, so who asks for many waits behind who asks for one.
- One that has waited for as long as a look-up may take is refused. One whose peer has left isn't begun. One that has
  begun keeps its place until its shard has answered, or its time is over, also when its peer has left.
- After each, all else has some times as long as it took before the next one begins: the large ones take tens of
  milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.errors import Overloaded
from pyshard.http.web_page import WebAnswer
from pyshard.settings import settings

_REST = 4  # times as long as a look-up took, all else has the time before the next one
_EACH = 0.001  # seconds that any look-up takes
_READ = 2e-9  # seconds for each byte of a record that is read
_SHOWN = 4e-8  # seconds for each byte of one that is shown


@attrs.define(eq=False)
class LookUp:
    """One look-up.

    :param origin: what counts as the address that it comes from.
    :param shard: the name of the shard that it is to ask.
    :param begin: begins it.
    :ivar answer: fires with its answer; fails with `Overloaded` when it had to wait for too long.
    """

    origin: str
    shard: str
    begin: Callable[[], Deferred[WebAnswer]]
    answer: Deferred[WebAnswer] = attrs.field(factory=Deferred, init=False)


def next_look_up(
    waiting: Sequence[LookUp], under_way: Sequence[LookUp], last: Mapping[str, int], most: int = settings.LOOK_UPS
) -> LookUp | None:
    """The one that is begun next; None: none may be. Pure.

    :param waiting: those that wait, the one that has waited longest first.
    :param last: address → the number of its last one that was begun.
    :param most: how many may be under way.
    """
    if len(under_way) >= most:
        return None
    asked = {each.shard for each in under_way}
    own = {each.origin: sum(each.origin == other.origin for other in under_way) for each in waiting}
    may = (each for each in waiting if each.shard not in asked and 2 * own[each.origin] < most)
    return min(may, key=lambda each: (own[each.origin], last.get(each.origin, 0)), default=None)


def seconds_for(size: int) -> float:
    """How long a look-up keeps the bootstrap busy, more or less. Pure.

    :param size: bytes of the record that was found.
    """
    return _EACH + _READ * size + _SHOWN * min(size, settings.SHOWN_RECORD_BYTES)


class LookUpTurns:
    """The look-ups of one bootstrap.

    :param clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[LookUp, IDelayedCall] = {}  # with the call that refuses it
        self._under_way: list[LookUp] = []
        self._last: dict[str, int] = {}  # address → the number of its last one that was begun, while it has any
        self._begun = 0
        self._rests_until = clock.seconds()
        self._next: IDelayedCall | None = None  # when the rest is over

    def add(self, look_up: LookUp) -> None:
        """Have one begun when it is its turn."""
        self._waiting[look_up] = self._clock.callLater(settings.LOOK_UP, self._refuse, look_up)
        self._go_on()

    def leave(self, look_up: LookUp) -> None:
        """Don't begin one, if it waits: nobody hears its answer."""
        late = self._waiting.pop(look_up, None)
        if late is not None:
            late.cancel()
            self._forget(look_up.origin)

    def rest(self, seconds: float) -> None:
        """Leave time to all else, given how long a look-up took."""
        self._rests_until = max(self._rests_until, self._clock.seconds()) + _REST * seconds

    # ------------------------------------------------------------------ inside

    def _go_on(self) -> None:
        while self._next is None and (look_up := next_look_up([*self._waiting], self._under_way, self._last)):
            wait = self._rests_until - self._clock.seconds()
            if wait > 0:
                self._next = self._clock.callLater(wait, self._rested)
                return
            self._waiting.pop(look_up).cancel()
            self._begun += 1
            self._last[look_up.origin] = self._begun
            self._under_way.append(look_up)
            maybeDeferred(look_up.begin).addBoth(self._ended, look_up)

    def _rested(self) -> None:
        self._next = None
        self._go_on()

    def _ended(self, outcome: WebAnswer | Failure, look_up: LookUp) -> None:
        self._under_way.remove(look_up)
        self._forget(look_up.origin)
        look_up.answer.callback(outcome)  # a Failure fails it
        self._go_on()

    def _refuse(self, look_up: LookUp) -> None:
        del self._waiting[look_up]
        self._forget(look_up.origin)
        look_up.answer.errback(Overloaded("several keys are being looked up just now; try again"))

    def _forget(self, origin: str) -> None:
        """Forget an address that has none any more."""
        if not any(each.origin == origin for each in [*self._waiting, *self._under_way]):
            self._last.pop(origin, None)
