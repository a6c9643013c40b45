"""Seeded runs of a whole cluster under faults: whatever happens, the history of every key must make sense.

Each run has a few clients that issue random verbs on few keys, while connections break, answers are held back,
shards answer late and out of order, restart empty, hand ranges to each other, and the bootstrap comes and goes. A
witness at the stores writes down what truly happened, in order; the `moment` of a thing is how many operations had
been applied by then. Afterwards every call is compared with that truth:

- a change was applied at most once; exactly once, between call and answer, when it was acknowledged; never, when it
  failed with `Unavailable`;
- an answer was true at some moment between the call and the answer;
- the changes of one client to one key happened in the order issued, and its reads lie where they were issued.

That makes the history of each key linearizable. Every call ends by its deadline, and when the faults are over
everything works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs
import pytest
from faults import Faults
from simulated_calls import STORING, Call, Place, Truth
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pyshard import Client
from pyshard.client_core import operation_queue
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.settings import settings
from pyshard.shard import shard as shard_module
from pyshard.shard.shard import Shard
from pyshard.storage import ITSELF, Sender, Task
from pyshard.testing import MemoryCluster

KEYS = ["test", "test1", "a", "b"]
INDEXES = ["", "pages"]
VERBS = ["write", "write", "add", "swap", "read", "read", "item", "has", "pop", "remove"]


class Simulation:
    """One seeded run."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random = random = Random(seed)
        monkeypatch.setattr(
            operation_queue, "settings", attrs.evolve(settings, BOX_OPERATIONS=random.choice([1, 2, 5, 1000]))
        )
        monkeypatch.setattr(
            shard_module,
            "settings",
            attrs.evolve(settings, ANSWER_BYTES=random.choice([20, 100, settings.ANSWER_BYTES])),
        )
        self.cluster = MemoryCluster(random.choice([1, 2, 3]), seed=seed)
        self.truth = Truth()
        self.calls: list[Call] = []
        self.values = 0
        #: The versions that each client has seen: (client, place) → version and value.
        self.seen: dict[tuple[int, Place], tuple[int, int]] = {}
        self.faults = Faults(self.cluster, random)
        #: Whether shards apply boxes late and out of order; a box may then take effect after its connection is gone.
        self.shuffles = random.random() < 0.4
        #: For how many seconds at most shards keep boxes and answers back.
        self.delay = random.choice([0.0, 0.02, 0.3])
        for service in self.cluster.services.values():
            self._witness(service.shard)
        self.clients = [
            self.cluster.connect(deadline=random.choice([0.5, 2, 10])) for _ in range(random.choice([1, 3]))
        ]
        self.cluster.run(self.clients[0].create_index("pages"))

    def _witness(self, shard: Shard) -> None:
        store, apply, truth, clock = shard.store, shard.store.apply, self.truth, self.cluster.clock

        def watched(tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
            def note(answers: list[Answer]) -> list[Answer]:
                for task, answer in zip(tasks, answers, strict=True):
                    truth.applied(task.run, answer)
                return answers

            return apply(tasks, limit, room, sender).addCallback(note)

        store.apply = watched  # type: ignore[method-assign]
        shard_apply: Callable[..., Any] = shard.apply

        def delayed(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
            seconds = self.random.random() * self.delay
            applied: Deferred[list[Answer]]
            if self.shuffles and seconds:
                applied = deferLater(clock, seconds, shard_apply, epoch, runs, sender)
            else:
                applied = shard_apply(epoch, runs, sender)
                if seconds:
                    applied.addCallback(lambda answers: deferLater(clock, seconds, lambda: answers))
            return applied

        shard.apply = delayed  # type: ignore[method-assign]

    # ------------------------------------------------------------------ what happens

    def issue(self) -> None:
        """One random call."""
        random, cluster = self.random, self.cluster
        number = random.randrange(len(self.clients))
        client: Client = self.clients[number]
        index, key, verb = random.choice(INDEXES), random.choice(KEYS), random.choice(VERBS)
        self.values += 1
        seconds = random.choice([None, None, 0.1, 1, 15])
        due = cluster.clock.seconds() + (client._deadline if seconds is None else seconds)
        call = Call(number, (index, key), verb, self.values, self.truth.moment, due)
        self.calls.append(call)
        work: Deferred[Any]
        if verb in STORING:
            if_version = None
            if verb == "swap":  # a version that nobody has seen is no record's
                if_version, call.seen = self.seen.get((number, call.place), (2**62, -1))
            work = client.write(
                key, call.value, index or None, if_absent=verb == "add", if_version=if_version, deadline=seconds
            )
        else:
            work = getattr(client, verb)(key, index or None, deadline=seconds)

        def ended(outcome: Any) -> None:
            call.outcome = outcome.value if isinstance(outcome, Failure) else outcome
            call.answered = self.truth.moment
            if verb == "item" and _record(call):
                self.seen[number, call.place] = call.outcome["version"], call.outcome["record"]
            call.late = cluster.clock.seconds() > call.due + 0.001

        work.addBoth(ended)

    def fault(self) -> None:
        """One random fault, or the end of one."""
        random, faults = self.random, self.faults
        kind = random.choice(["network", "network", "network", "bootstrap", "move", "move", "restart"])
        if kind == "network":
            faults.of_network()
        elif kind == "bootstrap":
            faults.bootstrap()
        elif kind == "move":
            faults.move()
        elif random.random() < 0.3:
            self.restart(random.choice(self.cluster.names))

    def restart(self, name: str) -> None:
        """Restart a shard empty."""
        if name not in self.cluster.services or self.cluster.bootstrap is None:
            return
        assignment = self.cluster.services[name].shard.assignment
        self.cluster.kill_shard(name)
        for index in INDEXES:
            for key in KEYS:
                if assignment is not None and in_ranges(slot_of(key.encode(), index.encode()), assignment.own.ranges):
                    self.truth.lost((index, key))
        self.cluster.advance(self.random.random())
        self.cluster.start_shard(name)
        self._witness(self.cluster.services[name].shard)

    # ------------------------------------------------------------------ how it ends

    def heal(self) -> None:
        """End all faults, and let every call come to its end."""
        cluster = self.cluster
        self.faults.mend()
        self.delay = 0
        if cluster.bootstrap is None:
            cluster.start_bootstrap()
        end = cluster.clock.seconds() + 20
        while any(call.answered < 0 for call in self.calls) and cluster.clock.seconds() < end:
            cluster.advance(0.5)

    def check(self) -> None:
        """Compare every call with the truth."""
        truth = self.truth
        for call in self.calls:
            assert call.answered >= 0, f"{call} never ended"
            assert not call.late, f"{call} ended after its deadline"
            if isinstance(call.outcome, Exception):
                allowed = (Unavailable, OutcomeUnknown) if call.changes else (Unavailable,)
                assert type(call.outcome) in allowed, call
            self._applied_as_often_as_told(call)
        for place in {call.place for call in self.calls}:
            for verb in ("pop", "remove"):
                ended = [one.outcome for one in self.calls if one.place == place and one.verb == verb]
                least = sum(not isinstance(outcome, Exception) for outcome in ended)
                most = least + sum(isinstance(outcome, OutcomeUnknown) for outcome in ended)
                assert least <= truth.takes[place, verb] <= most, (
                    f"{verb} of {place} was applied too often or too rarely"
                )
            for number in range(len(self.clients)):
                self._in_order([one for one in self.calls if one.place == place and one.client == number])
        popped = Counter(call.outcome["record"] for call in self.calls if call.verb == "pop" and _record(call))
        assert max(popped.values(), default=1) == 1, "two pops gave the same document"

    def _applied_as_often_as_told(self, call: Call) -> None:
        moments = self.truth.stored.get(call.value, [])
        if call.verb not in STORING:
            assert not moments
        elif isinstance(call.outcome, Unavailable):
            assert not moments, f"{call} happened after all"
        elif isinstance(call.outcome, OutcomeUnknown):
            assert len(moments) <= 1, f"{call} happened more than once"
        else:
            assert len(moments) == 1, f"{call} happened {len(moments)} times"
            assert call.issued < moments[0] <= call.answered, f"{call} happened at {moments[0]}"

    def _happened(self, call: Call) -> int | None:
        """The moment of a change, where it can be told."""
        if call.verb in STORING:
            moments = self.truth.stored.get(call.value)
            return moments[0] if moments else None
        if call.verb == "pop" and _record(call):
            moment, verb = self.truth.taken[call.outcome["record"]]
            assert verb == "pop", call
            assert call.issued < moment <= call.answered, call
            return moment
        return None

    def _in_order(self, calls: list[Call]) -> None:
        """The calls of one client on one key: each between those around it."""
        moments = [self._happened(call) for call in calls]
        known = [moment for moment in moments if moment is not None]
        assert known == sorted(known), f"changes of client {calls[0].client} to {calls[0].place} out of order: {known}"
        for number, call in enumerate(calls):
            if isinstance(call.outcome, Exception) or call.verb == "write":
                continue
            before = [moment for moment in moments[:number] if moment is not None]
            after = [moment - 1 for moment in moments[number + 1 :] if moment is not None]
            first, last = max([call.issued, *before]), min([call.answered, *after])
            moment = moments[number]
            if moment is not None:
                first = last = moment - 1  # what it found
            assert self.truth.was(call.place, _expected(call), first, last), (
                f"{call}: never true from {first} to {last}"
            )

    def finish(self) -> None:
        """Everything works, and every client reads the truth."""
        truth, cluster = self.truth, self.cluster
        began = cluster.clock.seconds()
        for client in self.clients:
            for index in INDEXES:
                for key in KEYS:
                    found = cluster.run(client.read(key, index or None, deadline=10))
                    assert (found and found["record"]) == truth.timeline((index, key))[-1][1]
        for index in INDEXES:
            listed = cluster.run(_all_keys(self.clients[0], index or None))
            here = [key for key in KEYS if truth.timeline((index, key))[-1][1] is not None]
            assert listed == sorted(here, key=lambda key: slot_of(key.encode(), index.encode()))
        assert cluster.clock.seconds() - began < 5
        cluster.close()
        assert cluster.clock.getDelayedCalls() == []


def _record(call: Call) -> bool:
    return isinstance(call.outcome, dict)


def _expected(call: Call) -> Callable[[int | None], bool]:
    """What the key must have had for this answer."""
    if call.verb in ("read", "item", "pop"):
        record = call.outcome["record"] if _record(call) else None
        return lambda value: value == record
    if call.verb == "add":
        return lambda value: (value is None) == (call.outcome > 0)
    if call.verb == "swap":
        return lambda value: (value == call.seen) == (call.outcome > 0)
    return lambda value: (value is not None) == bool(call.outcome)


async def _all_keys(client: Client, index: str | None) -> list[str]:
    pages = client.keys(index, deadline=10)
    return [key async for key in pages]
