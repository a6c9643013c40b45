"""Bulk verbs: one verb on any number of keys.

Rules:

- The caller's input is read one slice at a time, and the number of keys in flight is limited. So memory stays bounded
  for input of any length.
- Between two slices the reactor turns, so that nothing else waits long.
- Documents are encoded for one shard after the other, and the reactor turns in between: the first shard already works
  while documents for the next are encoded.
- Every key has an outcome, whatever goes wrong.
- A shard that let a deadline pass is sent nothing more, so that a long bulk ends soon.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.client.router import Router
from pyshard.client_core.bulk_input import BulkSlice, encoded
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.bulk_outcomes import Progress, SliceInFlight
from pyshard.client_core.operation_errors import not_sent
from pyshard.client_core.partial_failure import partial_failure
from pyshard.errors import ClientClosed, PyshardError, Unavailable
from pyshard.model.key_slots import slots_of
from pyshard.model.shard_map import ShardMap
from pyshard.protocol.columns import picker
from pyshard.settings import settings


@attrs.define
class _Unsent:
    """Keys of a slice for one shard that were not sent yet.

    :param slots: of all keys of the slice's run.
    :param map: by which the keys were found to be the shard's.
    :param shard: its name.
    :param numbers: which keys of the run they are.
    """

    bulk_slice: BulkSlice
    issued: SliceInFlight
    slots: Sequence[int]
    map: ShardMap
    shard: str
    numbers: Sequence[int]


class Bulk:
    """One bulk verb on its way.

    :param clock: gives the reactor its turns.
    :param router: leads to the shards.
    :param slices: what is to be done, in order; taken from only when there is room for more in flight.
    :param seconds: the deadline of each operation, from the moment it is issued.
    :param progress: called when keys are done.
    :param away: names of shards that are known not to answer; further ones are added to it.
    :param submit_to: sends a bulk operation to the shard of a name; default: to its primary.
    :ivar done: fires with the outcomes, in order, once nothing is in flight. It fails with `PartialFailure` when there
        is an error among them, or with what `slices` or `progress` raised. When the client is closed, no further slice
        is taken: then it fails with `PartialFailure`, or with `ClientClosed` when all that was taken is done.
    """

    def __init__(
        self,
        clock: IReactorTime,
        router: Router,
        slices: Iterator[BulkSlice],
        seconds: float,
        progress: Progress | None = None,
        away: set[str] | None = None,
        submit_to: Callable[[str, BulkOperation], None] | None = None,
    ) -> None:
        self._clock = clock
        self._router = router
        self._slices = slices
        self._seconds = seconds
        self._progress = progress
        self._away = set() if away is None else away
        self._submit_to = router.submit_to if submit_to is None else submit_to
        self._keys: list[object] = []
        self._issued: list[SliceInFlight] = []
        self._failed = False  # whether there is an error among the outcomes
        self._broken: Failure | None = None  # what the caller's own code raised
        self._closed = False  # whether the client was closed before everything was read
        self._operations = 0  # in flight
        self._bytes = 0
        self._ready = 0  # keys that are done
        self._more = True  # whether there may be another slice
        self._unsent: deque[_Unsent] = deque()  # of the slices that were taken
        self._turn: IDelayedCall | None = None
        self.done: Deferred[list[object]] = Deferred(self._cancelled)

    def start(self) -> Deferred[list[object]]:
        """Begin; gives `done`."""
        self._send_next()
        return self.done

    def _part_done(self, bulk_operation: BulkOperation, kinds: set[type]) -> None:
        self._router.read_sizes.note(bulk_operation)
        self._operations -= len(bulk_operation)
        self._bytes -= bulk_operation.weight
        if any(issubclass(kind, PyshardError) for kind in kinds):
            self._failed = True
            if Unavailable in kinds:
                self._away.add(self._router.state.map.lookup(bulk_operation.slots[0]).name)
        self._report(len(bulk_operation))
        self._continue()

    def _send_next(self) -> None:
        """Issue the next keys."""
        self._turn = None
        if not self._unsent:
            self._take_slice()
        self._issue()
        self._continue()

    def _take_slice(self) -> None:
        """Take the next slice."""
        self._closed = self._router.closed
        try:
            bulk_slice = None if self._closed else next(self._slices, None)
        except Exception:  # noqa: BLE001  # whatever the caller's iterable raises is the caller's answer
            self._break()
            bulk_slice = None
        if bulk_slice is None:
            self._more = False
            return
        issued = SliceInFlight(bulk_slice, self._part_done)
        self._keys.extend(bulk_slice.keys)
        self._issued.append(issued)
        if bulk_slice.run.keys:
            slots = slots_of(bulk_slice.run.keys, bulk_slice.run.index.encode())
            shards = self._router.state.map
            self._unsent += [
                _Unsent(bulk_slice, issued, slots, shards, shard, numbers)
                for shard, numbers in shards.split(slots).items()
            ]
        self._refused(len(bulk_slice.refused))

    def _issue(self) -> None:
        """Issue the keys that were not sent; those for one shard alone when documents had to be encoded."""
        while self._unsent:
            unsent = self._unsent[0]
            bulk_slice, issued = unsent.bulk_slice, unsent.issued
            if bulk_slice.documents is None:
                self._unsent.popleft()
                bulk_operation = BulkOperation(bulk_slice.run, unsent.slots, bulk_slice.places, self._expires(), issued)
                self._submit(
                    bulk_operation
                    if len(unsent.numbers) == len(bulk_operation)
                    else bulk_operation.part(unsent.numbers),
                    unsent,
                )
                continue
            write = encoded(bulk_slice, unsent.numbers)
            unsent.numbers = unsent.numbers[len(write) :]
            if not unsent.numbers:
                self._unsent.popleft()
            issued.write(write)
            if write.numbers:
                slots, places = picker(write.numbers)(unsent.slots), issued.places(write.numbers)
                self._submit(BulkOperation(write.run, slots, places, self._expires(), issued), unsent)
            self._refused(len(write.refused))
            return

    def _expires(self) -> float:
        return self._clock.seconds() + self._seconds

    def _submit(self, bulk_operation: BulkOperation, unsent: _Unsent) -> None:
        """Send operations to the shard that owns their keys by now; fail those for a shard that is away."""
        as_before = self._router.state.map is unsent.map
        parts = {unsent.shard: bulk_operation} if as_before else self._router.parts(bulk_operation)
        self._operations += len(bulk_operation)
        self._bytes += sum([part.weight for part in parts.values()])
        for name, part in parts.items():
            if name in self._away:
                part.fail(not_sent(name))
            else:
                self._submit_to(name, part)

    def _refused(self, count: int) -> None:
        """Put down that keys or documents were refused before anything was sent."""
        if count:
            self._failed = True
            self._report(count)

    def _continue(self) -> None:
        """Have more done when there is room for it; or end, when everything is done."""
        if self._more or self._unsent:
            room = self._operations < settings.BULK_OPERATIONS and self._bytes < settings.BULK_BYTES
            if room and self._turn is None:
                self._turn = self._clock.callLater(0, self._send_next)
        elif not self._operations and not self.done.called:
            self._end()

    def _end(self) -> None:
        if self._broken is not None:
            self.done.errback(self._broken)
        elif self._failed:
            self.done.errback(partial_failure(list(zip(self._keys, self._outcomes(), strict=True))))
        elif self._closed:
            self.done.errback(ClientClosed(f"the client was closed when {len(self._keys):,} keys were done"))
        else:
            self.done.callback(self._outcomes())

    def _outcomes(self) -> list[object]:
        return list(chain.from_iterable([issued.outcomes for issued in self._issued]))

    def _report(self, count: int) -> None:
        self._ready += count
        if self._progress is not None and self._broken is None:
            try:
                self._progress(self._ready)
            except Exception:  # noqa: BLE001  # as with the caller's iterable
                self._break()

    def _break(self) -> None:
        """Issue nothing more, and end with the exception that is being handled."""
        self._broken = self._broken or Failure()
        self._stop()

    def _stop(self) -> None:
        self._more = False
        self._unsent.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _cancelled(self, _: Deferred[list[object]]) -> None:
        self._stop()
