"""Clients of every kind at full speed, for tests that stop daemons meanwhile: every operation must succeed.

Rules:

- only one worker uses a key, so it knows each answer before;
- everything that goes wrong is kept with its message (`Load.troubles`);
- operations are counted, so that a standstill isn't taken for success.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from functional.cluster import PATIENCE, Cluster, until
from functional.deferred_calls import run_deferred
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client, Pyshard

_DEFERRED = 200  # loops of the Deferred client, each with one operation in flight
_BLOCKING = 3  # threads
_BULK = 1500  # keys of a bulk verb
_KEYS = 20  # of each loop
_KINDS = ("deferred", "blocking", "bulk")


class Load:
    """A load on a cluster, from `start` to `stop`.

    :param remembers: whether the cluster's shards keep what they have over a restart; without, what is read isn't
        compared.
    :ivar troubles: what went wrong, and how often.
    :ivar done: operations that were done, by the kind of client.
    """

    def __init__(self, cluster: Cluster, remembers: bool) -> None:
        self._server = cluster.server
        self._remembers = remembers
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._counted: Counter[str] = Counter()
        self._written: dict[str, int] = {}
        self.troubles: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        works: list[Callable[[Pyshard], object]] = [self._deferred, self._bulk]
        works += [self._blocking(number) for number in range(_BLOCKING)]
        self._threads = [threading.Thread(target=self._work, args=(work,), daemon=True) for work in works]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def wait_for_work(self) -> None:
        """Wait until clients of each kind have done more than they have by now."""
        before = Counter(self.done)
        until(lambda: all(self.done[kind] > before[kind] for kind in _KINDS), "every client works")

    def stop(self) -> None:
        """End, and check that every acknowledged change is there.

        :raises AssertionError: a client hangs, or something isn't there.
        """
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive(), "a client hangs"
        if self._remembers:
            with Pyshard(self._server, deadline=PATIENCE) as app:
                expected = {**self._written, **self._counted}
                found = app.read_many(expected)
                assert {key: one and one["record"] for key, one in zip(expected, found, strict=True)} == expected

    def _work(self, work: Callable[[Pyshard], object]) -> None:
        try:
            with Pyshard(self._server, deadline=PATIENCE) as app:
                work(app)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test is to tell it
            self._failed("a client", error)

    def _failed(self, what: str, error: Exception) -> None:
        with self._lock:
            self.troubles[f"{what}: {type(error).__name__}: {str(error)[:200]}"] += 1

    def _check(self, found: Any, expected: object) -> None:
        if self._remembers:
            record = found and found["record"]
            assert record == expected, f"found {record!r}, expected {expected!r}"

    def _deferred(self, _: Pyshard) -> None:
        async def loop(client: Client, number: int) -> None:
            turn, counter = 0, f"counter {number % 10}"
            while not self._stop.is_set():
                key = f"deferred {number} {turn % _KEYS}"
                try:
                    await client.write(key, turn)
                    self._written[key] = turn
                    await client.increment(counter)
                    self._counted[counter] += 1
                    self._check(await client.read(key), turn)
                    self.done["deferred"] += 3
                except Exception as error:  # noqa: BLE001  # as above
                    self._failed("Deferred client", error)
                turn += 1

        run_deferred(
            self._server,
            lambda client: gatherResults([Deferred.fromCoroutine(loop(client, at)) for at in range(_DEFERRED)]),
        )

    def _blocking(self, number: int) -> Callable[[Pyshard], None]:
        def work(app: Pyshard) -> None:
            turn = 0
            while not self._stop.is_set():
                key = f"blocking {number} {turn % _KEYS}"
                try:
                    app.write(key, turn)
                    self._written[key] = turn
                    self._check(app.read(key), turn)
                    self.done["blocking"] += 2
                except Exception as error:  # noqa: BLE001  # as above
                    self._failed("blocking client", error)
                turn += 1

        return work

    def _bulk(self, app: Pyshard) -> None:
        turn = 0
        while not self._stop.is_set():
            pairs = {f"bulk {number}": [turn, number] for number in range(_BULK)}
            try:
                app.write_many(pairs)
                for found in (app.read_many(pairs), app.pop_many(pairs)):
                    for one, expected in zip(found, pairs.values(), strict=True):
                        self._check(one, expected)
                self.done["bulk"] += 3 * _BULK
            except Exception as error:  # noqa: BLE001  # as above
                self._failed("bulk verb", error)
            turn += 1
