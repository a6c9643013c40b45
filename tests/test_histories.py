"""Recorded histories of concurrent clients of a cluster in memory, under every fault: all of them make sense.

Clients of all three faces (`history_faces`) make random calls of every verb on the same keys, single and bulk, while
connections break, bytes are held back and arrive late, shards are killed and come back with what they had committed,
ranges and addresses move, and the bootstrap comes and goes. Calls are cut short: Deferreds and futures are cancelled,
and something is raised, or another call made, in the middle of blocking calls. Shards commit changes a little after
they got them, as durable ones do, and answer reads at once.

By hand, any number of seeds: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import count, product
from random import Random

import attrs
import pytest
from deferreds import change_state
from faults import Faults
from green_threads import GreenThreads
from histories import Recorder, Tally, total
from history_calls import PAGES, VERBS, Call
from history_faces import AioFace, BlockingFace, DeferredFace, Face, FaceParts
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from pyshard.aio.loop_clock import LoopClock
from pyshard.blocking import bulk_call, shard_pool
from pyshard.client import bulk
from pyshard.client_core import operation_queue
from pyshard.model.shard_map import ShardMap
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Has, Read, ReadItem
from pyshard.settings import settings
from pyshard.shard import shard as shard_module
from pyshard.storage import ITSELF, IStore, MemoryStore, Sender, Task
from pyshard.testing import MemoryCluster

SEEDS = int(os.environ.get("PYSHARD_TEST_HISTORIES", "8"))
FIRST = int(os.environ.get("PYSHARD_TEST_SEED", "0"))
BLOCK = 20
STEPS = 60
KEYS = ["test", "test1", "a", "b", "c"]


class LastingStore(MemoryStore):
    """Keeps its records over restarts of its shard; changes are committed in order, a little after they came.

    :ivar clock: times that; None: they are committed at once.
    :ivar delay: seconds that it takes at the most.
    """

    ephemeral = False

    def __init__(self, identity: str, seconds: Callable[[], float], random: Random) -> None:
        super().__init__(identity, seconds)
        self.clock: IReactorTime | None = None
        self.delay = 0.0
        self._random = random
        self._waiting: list[Callable[[], object]] = []

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        if self.clock and self.delay and not all(isinstance(task.run, Read | Has | ReadItem) for task in tasks):
            done: Deferred[list[Answer]] = Deferred()
            apply = super().apply
            self._waiting.append(lambda: apply(tasks, limit, room, sender).chainDeferred(done))
            if len(self._waiting) == 1:
                self.clock.callLater(self._random.random() * self.delay, self.commit_waiting)
            return done
        return super().apply(tasks, limit, room, sender)

    def close(self) -> Deferred[None]:
        """End: of what waits some is committed, and none is answered."""
        waiting, self._waiting = self._waiting, []
        for job in waiting[: self._random.randrange(len(waiting) + 1)]:
            job()
        return succeed(None)

    def commit_waiting(self) -> None:
        """Commit what waits."""
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            job()


class Run:
    """One seeded run."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random = random = Random(seed)
        small = attrs.evolve(settings, BOX_OPERATIONS=random.choice([1, 2, 5, 1000]), BULK_STEP=random.choice([1, 3]))
        for module in (operation_queue, bulk, bulk_call, shard_pool):
            monkeypatch.setattr(module, "settings", small)
        answers = attrs.evolve(settings, ANSWER_BYTES=random.choice([20, 100, settings.ANSWER_BYTES]))
        monkeypatch.setattr(shard_module, "settings", answers)
        connecting = import_module("pyshard.client.connect")  # by this name the package has the function
        seeds = count(seed)  # of asyncio clients: two that are alike would end each other's connections
        monkeypatch.setattr(connecting, "SystemRandom", lambda: Random(next(seeds)))
        connecting = import_module("pyshard.aio.connect")
        monkeypatch.setattr(connecting, "LoopClock", lambda loop: LoopClock(loop, loop.time))
        self.stores: dict[str, LastingStore] = {}
        self.addresses: dict[str, list[tuple[str, int]]] = defaultdict(list)  # further ones of each shard
        self.kills = 0
        self.recorder = Recorder(KEYS, random)
        self.cluster = self._cluster(seed)
        self.faults = Faults(self.cluster, random, self._commit)
        delay = random.choice([0, 0.05, 1, 3])
        for store in self.stores.values():
            store.clock, store.delay = self.cluster.clock, delay
        self.faces = self._faces(GreenThreads(self.cluster.clock, random, random.choice([0, 0.02, 0.2]), monkeypatch))
        self.cluster.run(self.cluster.connect().create_index(PAGES))

    def _cluster(self, seed: int) -> MemoryCluster:
        return MemoryCluster(self.random.choice([1, 2, 3]), seed=seed, store=self._store)

    def _faces(self, threads: GreenThreads) -> list[Face]:
        """Some clients, mostly of all three faces."""
        random = self.random
        kinds = [DeferredFace, BlockingFace, AioFace]
        mixture = kinds + random.choices(kinds, k=2) if random.random() < 0.8 else random.choices(kinds, k=1) * 3
        numbers = count()
        faces: list[Face] = []
        for kind in mixture[: random.choice([3, 3, 5])]:
            deadline = random.choice([0.5, 2, 10])
            made = FaceParts(self.cluster, random, self.recorder, numbers, deadline)
            faces.append(BlockingFace(made, threads, random.choice([1, 3, 6])) if kind is BlockingFace else kind(made))
        return faces

    def _store(self, name: str, seconds: Callable[[], float]) -> IStore:
        if name not in self.stores:
            self.stores[name] = LastingStore(f"{len(self.stores):032x}", seconds, self.random)
        return self.stores[name]

    def _commit(self) -> None:
        for store in self.stores.values():
            store.commit_waiting()

    def step(self) -> None:
        """Some calls, perhaps a fault, and some time."""
        for _ in range(self.random.choice([0, 1, 1, 2, 3, 12])):
            self.issue()
        if self.random.random() < 0.25:
            self.fault()
        if self.random.random() < 0.1:
            self.random.choice(self.faces).cut()
        self.cluster.advance(self.random.choice([0, 0, 0.001, 0.01, 0.1, 0.5, 0.5, 2, 6]))

    def issue(self) -> None:
        """One random call, by somebody who can make one now."""
        face = self.random.choice(self.faces)
        callers = face.callers()
        if callers:
            call = self.recorder.plan(self.random.choice(callers))
            if self.random.random() < 0.2:
                call.deadline = self.random.choice([0.1, 1, 15])
            face.make(call)

    # ------------------------------------------------------------------ what goes wrong

    def fault(self) -> None:
        """One random fault, or the end of one."""
        kind = self.random.choice(["network"] * 5 + ["bootstrap", "move", "address", "kill"])
        if kind == "network":
            self.faults.of_network()
        elif kind == "bootstrap":
            self.faults.bootstrap()
        elif kind == "move":
            self.faults.move()
        elif kind == "address":
            self.change_address()
        else:
            self.kill()

    def kill(self, name: str = "") -> None:
        """Kill a shard, and start it again a little later.

        :param name: of the shard; empty: any.
        """
        name = name or self.random.choice(self.cluster.names)
        for address in self.addresses[name]:
            self.cluster.network.cut(*address)
            del self.cluster.network.listeners[address]
        self.cluster.kill_shard(name)
        self.kills += 1
        self.cluster.advance(self.random.choice([0, 0.3, 3]))
        self.cluster.start_shard(name)
        self._listen_at(name)

    def change_address(self) -> None:
        """Have a shard reached at another address; clients learn of it when they fetch the map."""
        if self.cluster.bootstrap is None:
            return
        keeper = self.cluster.bootstrap.bootstrap
        own = self.random.choice(keeper.state.map.shards)
        port = own.port + 100
        self.addresses[own.name].append((own.host, port))
        self._listen_at(own.name)
        ranges = [attrs.evolve(one, port=port) if one is own else one for one in keeper.state.map.shards]
        change_state(keeper, attrs.evolve(keeper.state, epoch=keeper.state.epoch + 1, map=ShardMap(ranges)))
        for face in self.faces:
            if self.random.random() < 0.5:
                face.refresh()

    def _listen_at(self, name: str) -> None:
        """Have a shard that runs listen at its further addresses as well."""
        first = self.cluster.map.named(name)
        assert first is not None
        for address in self.addresses[name]:
            self.cluster.network.listeners[address] = self.cluster.network.listeners[first.host, first.port]

    # ------------------------------------------------------------------ how it ends

    def finish(self) -> Tally:
        """End all faults, let every call come to its end, look that everything works, and check the histories."""
        cluster = self.cluster
        self.faults.mend()
        if cluster.bootstrap is None:
            cluster.start_bootstrap()
        self._wait()
        looks = []
        for face in self.faces:
            for index in ("", PAGES):
                for key in KEYS:
                    call = Call(face.callers()[0], -1, "read", index, [key], deadline=10)
                    looks.append(call)
                    face.make(call)
                    self._wait()
        documents = sum(call.outcome is not None for call in looks[-2 * len(KEYS) :])
        assert self._documents() == documents
        for face in self.faces:
            face.close()
        cluster.close()
        cluster.advance(4)
        assert cluster.clock.getDelayedCalls() == []
        return self.recorder.check()

    def _documents(self) -> int:
        """How many documents all shards have."""
        return sum(store.documents for store in self.stores.values())

    def _wait(self) -> None:
        """Wait until every call has ended."""
        self.cluster.advance(0)  # begins what a thread is to call
        end = self.cluster.clock.seconds() + 60
        while going_on := [call for call in self.recorder.calls if not call.ended]:
            assert self.cluster.clock.seconds() < end, f"{going_on[0]} doesn't end"
            self.cluster.advance(0.5)


def run(seed: int) -> Tally:
    """One run, to its end."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Run(seed, monkeypatch)
        for _ in range(STEPS):
            made.step()
        return made.finish()


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BLOCK))
def test_histories(first: int) -> None:
    """Under every fault of every seed, what every call came to can be explained."""
    tallies = []
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        try:
            tallies.append(run(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    tally = total(tallies)
    print(f"\nseeds from {first}: {tally}")  # noqa: T201  # pytest shows it when it is asked to (-s)
    if len(tallies) < BLOCK:  # so few may well have no answer to some verb
        return
    assert tally.answers.keys() == set(product(["deferred", "blocking", "asyncio"], VERBS)), "every verb had an answer"
    assert tally.unknown, "no answer was lost"
    assert tally.cut, "no call was cut short"
