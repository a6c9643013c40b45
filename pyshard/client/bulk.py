"""Bulk verbs: one verb on any number of keys.

Rules kept here: keys are taken from what the caller gave a step at a time, and what is in flight is bounded, so that
memory is, whatever the length; between two steps the reactor turns, so that nothing else waits long, and between the
parts of two shards if there are documents to encode, so that the first shard begins meanwhile; whatever goes wrong is
put down for the keys that it concerns, and nothing is left out; a shard that let a deadline pass is sent nothing more,
so that a long bulk ends soon.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.client.bulk_input import Encoded, Step, encoded
from pyshard.client.bulk_part import Chunk
from pyshard.client.router import Routing
from pyshard.errors import ClientClosed, PartialFailure, PyshardError, Unavailable
from pyshard.model.keyspace import shown_key, slots_of
from pyshard.model.shard_map import ShardMap
from pyshard.protocol.batches import Write, picker
from pyshard.settings import settings

#: Called with the number of keys that are done so far, those that failed included.
Progress = Callable[[int], object]


class Issued:
    """A step on its way, which takes the outcomes of its chunks; see `pyshard.client.bulk_part.Receiver`.

    :param landed: is told of each chunk whose outcomes are in place, with the types of these.
    :ivar outcomes: those of all of the step's keys, in order. A write's are there once it is encoded, as they are when
        all goes well.
    """

    def __init__(self, step: Step, landed: Callable[[Chunk, set[type]], None]) -> None:
        self._landed = landed
        self._places = step.places
        self.outcomes: list[object] = [None] * len(step.keys)
        if step.sizes:
            self._put(step.places, step.sizes)
        self._put(step.refused.keys(), step.refused.values())

    def write(self, write: Encoded) -> None:
        """Take what documents answer that are sent from now on, and the errors of those that are not."""
        self._put(self.places(write.numbers), write.sizes)
        self._put(self.places(list(write.refused)), write.refused.values())

    def places(self, numbers: Sequence[int]) -> Sequence[int]:
        """Where the outcomes of some of the step's run belong."""
        return numbers if isinstance(self._places, range) else picker(numbers)(self._places)

    def _put(self, places: Iterable[int], outcomes: Iterable[object]) -> None:
        found = self.outcomes
        for place, outcome in zip(places, outcomes, strict=True):
            found[place] = outcome

    def landed(self, chunk: Chunk, outcomes: Sequence[object]) -> None:
        """See `pyshard.client.bulk_part.Receiver`."""
        found, positions = self.outcomes, chunk.positions
        kinds: set[type] = {bool}
        if not isinstance(chunk.run, Write):
            kinds = set(map(type, outcomes))
            for position, outcome in zip(positions, outcomes, strict=True):
                found[position] = outcome
        elif outcomes.count(True) < len(outcomes):
            kinds = set(map(type, outcomes))
            for position, outcome in zip(positions, outcomes, strict=True):
                if outcome is not True:
                    found[position] = outcome or 0
        self._landed(chunk, kinds)


@attrs.define
class _Part:
    """What is to be done yet of a step for the keys of one shard.

    :param slots: of all keys of the step's run.
    :param map: by which the keys were found to be the shard's.
    :param shard: its name.
    :param numbers: which of the run's keys they are.
    """

    step: Step
    issued: Issued
    slots: Sequence[int]
    map: ShardMap
    shard: str
    numbers: Sequence[int]


class Bulk:
    """One bulk verb on its way.

    :param clock: gives the reactor its turns.
    :param routing: leads to the shards.
    :param steps: what is to be done, in order; taken from only when there is room for more in flight.
    :param seconds: the deadline of each operation, from the moment it is issued.
    :param progress: called when keys are done.
    :param away: names of shards that are known not to answer; further ones are added to it.
    :ivar done: fires with the outcomes, in order; fails with `PartialFailure` when there is an error among them, or
        with what `steps` or `progress` raised, once nothing is in flight. When the client is closed, no further step
        is taken: it fails with `PartialFailure`, or with `ClientClosed` when all that was taken is done.
    """

    def __init__(
        self,
        clock: IReactorTime,
        routing: Routing,
        steps: Iterator[Step],
        seconds: float,
        progress: Progress | None = None,
        away: set[str] | None = None,
    ) -> None:
        self._clock = clock
        self._routing = routing
        self._steps = steps
        self._seconds = seconds
        self._progress = progress
        self._away = set() if away is None else away
        self._keys: list[object] = []
        self._issued: list[Issued] = []
        self._failed = False  # whether there is an error among the outcomes
        self._broken: Failure | None = None  # what the caller's own code raised
        self._closed = False  # whether the client was closed before everything was read
        self._operations = 0  # in flight
        self._bytes = 0
        self._ready = 0  # keys that are done
        self._more = True  # whether there may be another step
        self._parts: deque[_Part] = deque()  # of the steps so far
        self._turn: IDelayedCall | None = None
        self.done: Deferred[list[object]] = Deferred(self._cancelled)

    def start(self) -> Deferred[list[object]]:
        """Begin; gives `done`."""
        self._step()
        return self.done

    def _landed(self, chunk: Chunk, kinds: set[type]) -> None:
        self._operations -= len(chunk)
        self._bytes -= chunk.weight
        if any(issubclass(kind, PyshardError) for kind in kinds):
            self._failed = True
            if Unavailable in kinds:
                self._away.add(self._routing.state.map.lookup(chunk.slots[0]).name)
        self._tell(len(chunk))
        self._go_on()

    def _step(self) -> None:
        """Issue the next keys."""
        self._turn = None
        if not self._parts:
            self._take()
        self._issue()
        self._go_on()

    def _take(self) -> None:
        """Take the next step."""
        self._closed = self._routing.closed
        try:
            step = None if self._closed else next(self._steps, None)
        except Exception:  # noqa: BLE001  # whatever the caller's iterable raises is the caller's answer
            self._break()
            step = None
        if step is None:
            self._more = False
            return
        issued = Issued(step, self._landed)
        self._keys.extend(step.keys)
        self._issued.append(issued)
        if step.run.keys:
            slots = slots_of(step.run.keys, step.run.index.encode())
            shards = self._routing.state.map
            self._parts += [_Part(step, issued, slots, shards, *one) for one in shards.split(slots).items()]
        self._refused(len(step.refused))

    def _issue(self) -> None:
        """Issue what is to be done of the step; only a part of it when that had to be encoded."""
        while self._parts:
            part = self._parts[0]
            step, issued = part.step, part.issued
            if step.documents is None:
                self._parts.popleft()
                chunk = Chunk(step.run, part.slots, step.places, self._expires(), issued)
                self._submit(chunk if len(part.numbers) == len(chunk) else chunk.part(part.numbers), part)
                continue
            write = encoded(step, part.numbers)
            part.numbers = part.numbers[len(write) :]
            if not part.numbers:
                self._parts.popleft()
            issued.write(write)
            if write.numbers:
                slots, places = picker(write.numbers)(part.slots), issued.places(write.numbers)
                self._submit(Chunk(write.run, slots, places, self._expires(), issued), part)
            self._refused(len(write.refused))
            return

    def _expires(self) -> float:
        return self._clock.seconds() + self._seconds

    def _submit(self, chunk: Chunk, part: _Part) -> None:
        """Send operations of a part to their shard, or to their shards by now; fail those whose shard is away."""
        as_before = self._routing.state.map is part.map
        parts = {part.shard: chunk} if as_before else self._routing.parts(chunk)
        self._operations += len(chunk)
        self._bytes += sum([one.weight for one in parts.values()])
        for name, one in parts.items():
            if name in self._away:
                one.fail(Unavailable(f"it was not sent: shard {name!r} let the deadline of keys before it pass"))
            else:
                self._routing.submit_part(name, one)

    def _refused(self, count: int) -> None:
        """Put down that keys or documents were refused before anything was sent."""
        if count:
            self._failed = True
            self._tell(count)

    def _go_on(self) -> None:
        """Have more done when there is room for it; or end, when everything is done."""
        if self._more or self._parts:
            room = self._operations < settings.BULK_OPERATIONS and self._bytes < settings.BULK_BYTES
            if room and self._turn is None:
                self._turn = self._clock.callLater(0, self._step)
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
        return list(chain.from_iterable([one.outcomes for one in self._issued]))

    def _tell(self, count: int) -> None:
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
        self._parts.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _cancelled(self, _: Deferred[list[object]]) -> None:
        self._stop()


def partial_failure(outcomes: list[tuple[object, object]]) -> PartialFailure:
    """The error for outcomes among which are errors."""
    failed = [(key, outcome) for key, outcome in outcomes if isinstance(outcome, PyshardError)]
    key, error = failed[0]
    return PartialFailure(
        f"{len(failed):,} of {len(outcomes):,} keys failed; the first, {shown_key(key)}: "
        f"{type(error).__name__}: {error}",
        outcomes,
    )
