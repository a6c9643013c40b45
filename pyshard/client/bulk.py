"""Bulk verbs: one verb on any number of keys.

Rules kept here: keys are taken from what the caller gave a step at a time, and what is in flight is bounded, so that
memory is, whatever the length; between two steps the reactor turns, so that nothing else waits long; a step's keys
go to all shards concerned at the same time; whatever goes wrong is put down for the keys that it concerns, and
nothing is left out; a shard that let a deadline pass is sent nothing more, so that a long bulk ends soon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TypeAlias, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard import documents
from pyshard.batch import Has, Pop, Read, Remove, Run, Write
from pyshard.client.chunks import Chunk
from pyshard.client.routing import Routing
from pyshard.documents import Storable
from pyshard.errors import ClientClosed, InvalidArgument, PartialFailure, PyshardError, Unavailable
from pyshard.hashing import Key, key_bytes, keys_bytes, slots_of
from pyshard.settings import settings

#: Called with the number of keys that are done so far, those that failed included.
Progress = Callable[[int], object]

#: A pair of a write.
Pair: TypeAlias = tuple[Key, Storable]

#: Any number of pairs, or a mapping, whose type of keys is one of a key's types.
Pairs: TypeAlias = (
    Iterable[Pair] | Mapping[str, Storable] | Mapping[int, Storable] | Mapping[float, Storable] | Mapping[Key, Storable]
)


@attrs.frozen
class Step:
    """Some keys of a bulk verb, ready to be sent.

    :param keys: the keys as the caller gave them.
    :param run: the verb on those keys that are fine.
    :param places: the place in `keys` of each of the run's keys.
    :param sizes: of a write: what it answers for each of the run's keys.
    :param refused: place → error of the other keys.
    """

    keys: Sequence[object]
    run: Run
    places: Sequence[int]
    sizes: Sequence[int]
    refused: dict[int, PyshardError]


def pairs_of(pairs: Pairs) -> Iterable[Pair]:
    """The pairs that a caller gave, or gave as a mapping."""
    return cast("Iterable[Pair]", pairs.items()) if isinstance(pairs, Mapping) else pairs


def keys_of(keys: Iterable[Key]) -> Iterable[Key]:
    """The keys that a caller gave.

    :raises InvalidArgument: it is one str, which is a key and no collection of them.
    """
    if isinstance(keys, str | bytes):
        raise InvalidArgument(f"keys: found one {type(keys).__name__}, expected a collection of keys")
    return keys


def writes(pairs: Iterable[Pair], index: str, ttl: int, size: int) -> Iterator[Step]:
    """Steps that write documents.

    :param ttl: milliseconds for which each of them lives; 0: for ever.
    :param size: keys of a step.
    :raises InvalidArgument: when it comes to something that is no pair.
    """
    source = iter(pairs)
    while some := _pairs(list(islice(source, size))):
        while some:
            step = _write_step(some, index, ttl)
            yield step
            some = some[len(step.keys) :]


def _write_step(pairs: list[Pair], index: str, ttl: int) -> Step:
    """A step that writes as many of the pairs as a box takes."""
    keys, docs = map(list, zip(*pairs, strict=True))
    refused: dict[int, PyshardError] = {}
    try:
        texts = keys_bytes(keys)
        records, sizes = documents.encode_many(docs, settings.BOX_BYTES)
    except PyshardError:
        texts, records, sizes = _fine_pairs(pairs, refused)
    del keys[len(records) + len(refused) :], texts[len(records) :]
    run = Write(index, texts, records, None, [ttl] * len(texts) if ttl else None)
    return Step(keys, run, _others(len(keys), refused), sizes, refused)


def _fine_pairs(pairs: list[Pair], refused: dict[int, PyshardError]) -> tuple[list[bytes], list[bytes], list[int]]:
    """Texts, records and sizes of those pairs that can be written; the places of others go to `refused`."""
    texts: list[bytes] = []
    records: list[bytes] = []
    sizes: list[int] = []
    room = settings.BOX_BYTES
    for place, (key, doc) in enumerate(pairs):
        try:
            text = key_bytes(key)
            record, size = documents.encode(doc)
        except PyshardError as error:
            refused[place] = error
        else:
            texts.append(text)
            records.append(record)
            sizes.append(size)
            room -= len(record)
            if room <= 0:
                break
    return texts, records, sizes


def _pairs(given: list[Pair]) -> list[Pair]:
    if list(map(type, given)).count(tuple) == len(given) == list(map(len, given)).count(2):
        return given
    return [_pair(pair) for pair in given]


def _pair(pair: Pair) -> Pair:
    if type(pair) is tuple and len(pair) == 2:
        return pair
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InvalidArgument(f"pairs: found a {type(pair).__name__}, expected pairs of a key and a document")
    return pair[0], pair[1]


def on_keys(verb: type[Read | Has | Pop | Remove], keys: Iterable[Key], index: str, size: int) -> Iterator[Step]:
    """Steps of a verb that takes keys alone, `size` at a time."""
    source = iter(keys)
    while some := list(islice(source, size)):
        refused: dict[int, PyshardError] = {}
        try:
            texts = keys_bytes(some)
        except PyshardError:
            texts = _fine_keys(some, refused)
        yield Step(some, verb(index, texts), _others(len(some), refused), (), refused)


def _fine_keys(keys: Sequence[Key], refused: dict[int, PyshardError]) -> list[bytes]:
    """The texts of those keys that are keys; the places of others go to `refused`."""
    texts: list[bytes] = []
    for place, key in enumerate(keys):
        try:
            texts.append(key_bytes(key))
        except PyshardError as error:
            refused[place] = error
    return texts


def _others(count: int, refused: dict[int, PyshardError]) -> Sequence[int]:
    return [place for place in range(count) if place not in refused] if refused else range(count)


class Issued:
    """A step on its way, which takes the outcomes of its chunks; see `pyshard.client.chunks.Receiver`.

    :param landed: is told of each chunk whose outcomes are in place, with the types of these.
    :ivar outcomes: those of all of the step's keys, in order. A write's are there from the beginning, as they are when
        all goes well.
    """

    def __init__(self, step: Step, landed: Callable[[Chunk, set[type]], None]) -> None:
        self._landed = landed
        self.outcomes: list[object] = list(step.sizes) or [None] * len(step.keys)
        if step.refused:
            sizes = dict(zip(step.places, step.sizes, strict=False))  # only a write has some
            self.outcomes = [step.refused.get(place, sizes.get(place)) for place in range(len(step.keys))]

    def landed(self, chunk: Chunk, outcomes: Sequence[object]) -> None:
        """See `pyshard.client.chunks.Receiver`."""
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
        self._more = True
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
        self._closed = self._routing.closed
        try:
            step = None if self._closed else next(self._steps, None)
        except Exception:  # noqa: BLE001  # whatever the caller's iterable raises is the caller's answer
            self._break()
            step = None
        if step is None:
            self._more = False
        else:
            self._issue(step)
        self._go_on()

    def _issue(self, step: Step) -> None:
        issued = Issued(step, self._landed)
        self._keys.extend(step.keys)
        self._issued.append(issued)
        if step.refused:
            self._failed = True
            self._tell(len(step.refused))
        if step.run.keys:
            slots = slots_of(step.run.keys, step.run.index.encode())
            expires = self._clock.seconds() + self._seconds
            parts = self._routing.parts(Chunk(step.run, slots, step.places, expires, issued))
            self._operations += len(slots)
            self._bytes += sum([part.weight for part in parts.values()])
            for name, part in parts.items():
                if name in self._away:
                    part.fail(Unavailable(f"it was not sent: shard {name!r} let the deadline of keys before it pass"))
                else:
                    self._routing.submit_part(name, part)

    def _go_on(self) -> None:
        """Have the next step done when there is room for it; or end, when everything is done."""
        if self._more:
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
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _cancelled(self, _: Deferred[list[object]]) -> None:
        self._stop()


def partial_failure(outcomes: list[tuple[object, object]]) -> PartialFailure:
    """The error for outcomes among which are errors."""
    failed = [(key, outcome) for key, outcome in outcomes if isinstance(outcome, PyshardError)]
    key, error = failed[0]
    shown = repr(key) if isinstance(key, str | int | float) else f"<{type(key).__name__}>"
    return PartialFailure(
        f"{len(failed):,} of {len(outcomes):,} keys failed; the first, {shown[:60]}: {type(error).__name__}: {error}",
        outcomes,
    )
