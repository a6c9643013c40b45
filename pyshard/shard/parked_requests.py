"""Parks requests for slots that are closed for a moment, since they move: the requests wait, and aren't refused.

While a range changes hands, neither of its two shards serves it for about a tenth of a second. A client that is refused
then fetches the map, which is still the old one. It tries again after a pause, and each pause is longer than the last.
So it waits for longer than the range is closed. A request that is parked goes on as soon as the range is open.

Rules:

- Slots are *closed* when the shard should own them, but doesn't serve them. They are sealed, or are about to be, or a
  commit has given them to the shard and its store doesn't own them yet.
- A request is parked as a whole, before anything of it is applied. When slots are opened, or have gone, it is planned
  anew, with the epoch that it came with. Then it is applied, or redirected, or waits on.
- A request doesn't overtake a parked one of the same sender that has a slot in common with it. Other requests go on.
- Requests are parked for a bounded time after slots were closed. That time begins when they are closed, also for a
  request that comes later. A seal can last for long, as when there is no bootstrap. Then requests are refused as
  without parking. So no change waits here until its caller's deadline, and leaves the caller in doubt.
- What is parked is bounded, by number for each connection, and by number and bytes for all. One address may have as
  much as is still free. The bound of a connection is lower than the number of boxes that it may have under way, so
  the shard reads on from it. A request that has no room is refused as without parking.
- What is parked of a connection that has ended, or that a newer one of its session has replaced, is never applied.
- When the daemon stops, nothing waits any more. All is planned anew at once, and what is for closed slots is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pyshard.errors import Overloaded, Unavailable
from pyshard.model.key_slots import LazySlots
from pyshard.protocol.batch_operations import Run
from pyshard.settings import settings
from pyshard.storage import Sender, Task
from pyshard.storage.durable.update_size import update_size

_T = TypeVar("_T")
_SLOT = 100  # bytes of memory that a slot takes in a set
_log = Logger()

#: Plans a request, given whether it may wait, and begins it; None: it has to wait, and nothing of it was done.
Begin: TypeAlias = Callable[[bool], Deferred[_T] | None]


@attrs.frozen
class ParkingBounds:
    """How much is parked.

    :param seconds: after slots were closed, for which what comes for them is.
    :param requests: of all connections.
    :param of_connection: requests of one.
    :param size: bytes of memory that those of all connections take.
    """

    seconds: float = settings.PARKED
    requests: int = settings.MAX_PARKED
    of_connection: int = settings.MAX_PARKED_OF_CONNECTION
    size: int = settings.MAX_PARKED_BYTES


@attrs.frozen(eq=False)
class _Parked:
    sender: Sender
    slots: frozenset[int]
    size: int
    begin: Begin[Any]
    answered: Deferred[Any] = attrs.field(factory=Deferred)


@attrs.define
class _Share:
    """What is parked of one address."""

    requests: int = 0
    size: int = 0


class ParkedRequests:
    """The parked requests of one shard.

    :param clock: the reactor: times how long requests wait.
    :param bounds: how much is parked.
    :ivar idle: nothing is parked, nor would be just now, as is mostly so.
    """

    def __init__(self, clock: IReactorTime, bounds: ParkingBounds | None = None) -> None:
        self._clock = clock
        self._bounds = bounds or ParkingBounds()
        self._requests: dict[_Parked, None] = {}  # in the order in which they came
        self._of: dict[Sender, list[_Parked]] = {}
        self._addresses: dict[str, _Share] = {}
        self._size = 0
        self._time_is_up: IDelayedCall | None = None  # None: nothing is parked just now
        self._closed = False
        self._releasing = self._look_again = False
        self.idle = True

    def __len__(self) -> int:
        return len(self._requests)

    def serve(self, sender: Sender, runs: Sequence[Run], begin: Begin[_T], weight: int = 0) -> Deferred[_T]:
        """Begin a request now, or park it.

        :param sender: whose it is.
        :param runs: what it asks for; none: its order among others doesn't matter.
        :param begin: plans and begins it. If it is parked, that is called again, until it doesn't want to wait.
        :param weight: bytes of memory that it takes beside its runs.
        :return: a Deferred of what the one has that `begin` returned. It fails with `Unavailable` if the sender goes
            before, and with `Overloaded` if there is no room behind a parked one. Then nothing of it was done.
        :raises PyshardError: as `begin` does.
        """
        slots = _slots(runs) if sender in self._of else None
        held_up = slots is not None and self._is_behind(sender, slots)
        if not held_up:
            begun = begin(self._time_is_up is not None)
            if begun is not None:
                return begun
        slots = _slots(runs) if slots is None else slots
        size = update_size([Task(run, 0, ()) for run in runs])[0] + _SLOT * len(slots) + weight
        if self._has_room(sender, size):
            parked = _Parked(sender, slots, size, begin)
            self._add(parked)
            return parked.answered
        refused = None if held_up else begin(False)
        return fail(_no_room()) if refused is None else refused

    def slots_closed(self) -> None:
        """Slots were closed: from now on, for some time, what comes for them is parked."""
        if self._closed:
            return
        if self._time_is_up is None:
            self._time_is_up = self._clock.callLater(self._bounds.seconds, self._stop_waiting)
        else:
            self._time_is_up.reset(self._bounds.seconds)
        self.idle = False

    def release(self) -> None:
        """Slots were opened, or have gone: plan anew what is parked."""
        self._look_again = True
        if not self._releasing and self._requests:
            self._releasing = True
            Deferred.fromCoroutine(self._release()).addErrback(
                lambda failure: _log.failure("what is parked can't be released", failure)
            )

    def forget(self, sender: Sender) -> None:
        """Do nothing of what is parked of a sender any more: nobody wants it."""
        forgotten = self._of.get(sender, ())
        for parked in list(forgotten):
            self._remove(parked)
            parked.answered.errback(Unavailable("the connection ended before the shard could begin; nothing was done"))

    def close(self) -> None:
        """Park nothing any more, and have nothing wait."""
        self._closed = True
        if self._time_is_up is not None:
            self._time_is_up.cancel()
            self._stop_waiting()

    # ------------------------------------------------------------------ inside

    def _stop_waiting(self) -> None:
        self._time_is_up = None
        self._note_idle()
        self.release()

    async def _release(self) -> None:
        """Plan all anew, in order; others are served in between."""
        began = self._clock.seconds()
        try:
            while self._look_again:
                self._look_again = False
                for parked in list(self._requests):
                    if parked in self._requests and not self._is_behind(parked.sender, parked.slots, parked):
                        self._begin(parked)
                    if self._clock.seconds() - began >= settings.SERVED_AT_ONCE:
                        await deferLater(self._clock, 0)
                        began = self._clock.seconds()
        finally:
            self._releasing = False

    def _begin(self, parked: _Parked) -> None:
        if parked.sender.gone():
            self.forget(parked.sender)
            return
        began = self._clock.seconds()
        try:
            begun = parked.begin(self._time_is_up is not None)
        except Exception:  # noqa: BLE001  # whatever it is, it is the answer
            begun = fail()
        parked.sender.count(max(0.0, self._clock.seconds() - began), 1)
        if begun is not None:
            self._remove(parked)  # before it is answered, which may bring the sender's next request
            begun.addCallbacks(parked.answered.callback, parked.answered.errback)

    def _is_behind(self, sender: Sender, slots: frozenset[int], parked: _Parked | None = None) -> bool:
        """Whether a request must wait for one of its sender's that came before.

        :param parked: the request itself; None: it isn't parked.
        """
        for before in self._of.get(sender, ()):
            if before is parked:
                break
            if not before.slots.isdisjoint(slots):
                return True
        return False

    def _has_room(self, sender: Sender, size: int) -> bool:
        bounds, share = self._bounds, self._addresses.get(sender.address, _Share())
        return (
            len(self._of.get(sender, ())) < bounds.of_connection
            and share.requests < bounds.requests - len(self._requests)
            and share.size + size <= bounds.size - self._size
        )

    def _add(self, parked: _Parked) -> None:
        self._requests[parked] = None
        self._of.setdefault(parked.sender, []).append(parked)
        share = self._addresses.setdefault(parked.sender.address, _Share())
        share.requests += 1
        share.size += parked.size
        self._size += parked.size
        self._look_again = True  # if they are being released just now
        self._note_idle()

    def _remove(self, parked: _Parked) -> None:
        del self._requests[parked]
        of_sender, share = self._of[parked.sender], self._addresses[parked.sender.address]
        of_sender.remove(parked)
        if not of_sender:
            del self._of[parked.sender]
        share.requests -= 1
        share.size -= parked.size
        if not share.requests:
            del self._addresses[parked.sender.address]
        self._size -= parked.size
        self._note_idle()

    def _note_idle(self) -> None:
        self.idle = self._time_is_up is None and not self._requests


def _slots(runs: Sequence[Run]) -> frozenset[int]:
    return frozenset().union(*(LazySlots(run.keys, run.index.encode()) for run in runs))


def _no_room() -> Overloaded:
    return Overloaded(
        "too much waits at this shard for a range that is about to move, some of it for the same keys; try again later"
    )
