"""The network of a simulation: it delays, loses, and is cut, in one direction or in both. Questions may come twice."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol, TypeVar

from replication.simulated_clock import SimulatedClock
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, Unavailable

_T = TypeVar("_T")


class End(Protocol):
    """A process at one end of it, as far as the network is concerned."""

    address: str
    life: int
    alive: bool

    def run(self, life: int, work: Callable[[], object]) -> None:
        """Do something in a process, unless it has ended; when the machine is awake."""
        ...


class SimulatedNetwork:
    """All links.

    :param clock: true time.
    :param random: chooses what happens.
    :ivar cut: pairs of ends, from and to, between which nothing passes.
    :ivar loss: how much gets lost, as a part of all.
    :ivar doubled: how many questions come twice, as a part of all.
    :ivar late: how much comes very late, as a part of all.
    """

    def __init__(self, clock: SimulatedClock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self.cut: set[tuple[str, str]] = set()
        self.loss = self.doubled = self.late = 0.0

    def send(
        self, here: str, there: str, arrive: Callable[..., object], *arguments: object, in_order: bool = False
    ) -> None:
        """Have something arrive, if it isn't lost.

        :param in_order: whether it never comes so late that something is before it which was sent much later.
        """
        if (here, there) not in self.cut and (not self.loss or self._random.random() >= self.loss):
            self._clock.callLater(self._delay(in_order), arrive, *arguments)

    def ask(self, near: End, far: End, work: Callable[[], Deferred[_T]], limit: float) -> Deferred[_T]:
        """Have a process ask another one.

        :param work: what the other one does.
        :param limit: seconds after which the question fails.
        """
        result: Deferred[_T] = Deferred(lambda _: None)
        life, far_life = near.life, far.life

        def end(outcome: _T | Failure) -> None:
            if not result.called:
                result.callback(outcome)

        def back(outcome: _T | Failure) -> None:
            self.send(far.address, near.address, near.run, life, lambda: end(outcome))

        def serve() -> None:
            try:
                answer = work()
            except PyshardError as error:
                back(Failure(error))
            else:
                answer.addBoth(back)

        self._clock.callLater(limit, near.run, life, lambda: end(Failure(Unavailable("no answer"))))

        def arrive() -> None:
            if far.alive or far_life != far.life:
                far.run(far_life, serve)
            else:  # nobody listens
                back(Failure(Unavailable("refused")))

        for _ in range(2 if self.doubled and self._random.random() < self.doubled else 1):
            self.send(near.address, far.address, arrive)
        return result

    def _delay(self, in_order: bool) -> float:
        if self.late and not in_order and self._random.random() < self.late:
            return self._random.uniform(0.1, 3.0)
        return self._random.choice([0.0003, 0.001, 0.003, 0.03])
