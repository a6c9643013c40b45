"""A program whose calls are recorded: with threads on the blocking client, or with tasks on the asyncio one.

Run as ``python history_program.py FACE SERVER FILE SEED NUMBER``. It tells by a line that it is connected. Then it
reads orders from standard input, one a line, as JSON, and answers each with a line when it is done. Every call is
written to the file when it begins and when it ends, so that those of a program that is killed are known, too
(`history_processes` reads them).

The blocking program forks after its first call; the child goes on with the client that it was born with. Its main
thread is interrupted now and then, by a signal; the tasks of the other one are cancelled now and then.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from types import FrameType, ModuleType

import attrs
from histories import Recorder
from history_calls import PAGES, Call, CutShort, Interruption, invoke, outcome_of

from pyshard import Pyshard
from pyshard.aio import AioClient, connect
from pyshard.blocking import bulk_work, cluster, pooled_connection, shard_pool
from pyshard.client import rpc_channel, shard_link
from pyshard.errors import PyshardError
from pyshard.net import reconnecting_dialer
from pyshard.settings import settings

DEADLINE = 1.5
THREADS, TASKS = 2, 4
CALLERS = 10  # how many numbers of callers, and how many times as many values, a program has for itself

#: Settings by which clients give connections up soon, so that much happens in little time; and who goes by them.
QUICK = attrs.evolve(settings, DEADLINE=1.0, TIMEOUT=1.0, HEARTBEAT=1.0)
QUICKENED: Sequence[ModuleType] = [
    shard_link,
    rpc_channel,
    reconnecting_dialer,
    bulk_work,
    cluster,
    pooled_connection,
    shard_pool,
]


@attrs.frozen
class Order:
    """What a program is told to do.

    :ivar keys: those of each index.
    :ivar end: the time of the system's monotonic clock until which calls are made; 0: read every key once.
    """

    round: int
    keys: Sequence[str]
    end: float


class LoggedRecorder(Recorder):
    """Writes down what it is told.

    :param file: the file's descriptor.
    """

    def __init__(self, order: Order, random: Random, file: int, first: int) -> None:
        super().__init__(order.keys, random, time.monotonic_ns, first)
        self._order = order
        self._file = file

    def began(self, call: Call) -> None:
        """See `Recorder`."""
        super().began(call)
        self._log(call)

    def ended(self, call: Call, outcome: object) -> None:
        """See `Recorder`."""
        super().ended(call, outcome)
        self._log(call)

    def _log(self, call: Call) -> None:
        os.write(self._file, pickle.dumps((self._order.round, call)))


def _tell_done() -> None:
    print("done", flush=True)  # noqa: T201  # the answer to an order


class Program:
    """What both kinds of programs have.

    :param number: of this program; no other one has it.
    """

    def __init__(self, server: str, file: Path, seed: int, number: int) -> None:
        self.server = server
        self.random = Random(f"{seed} {number}")
        self.number = number
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._values = number * 10**9

    def recorder(self, order: Order) -> LoggedRecorder:
        """The recorder of an order; none has the values of another."""
        self._values += 10**5
        return LoggedRecorder(order, self.random, self._file, self._values)

    def looks(self, caller: int, order: Order) -> list[Call]:
        """A read of every key."""
        return [
            Call(caller, -number, "read", index, [key], deadline=20)
            for number, (index, key) in enumerate(
                ((i, key) for i in ("", PAGES) for key in order.keys), order.round * 1000
            )
        ]


class BlockingProgram(Program):
    """Threads that share one blocking client."""

    def __init__(self, server: str, file: Path, seed: int, number: int) -> None:
        super().__init__(server, file, seed, number)
        self.app = Pyshard(server, deadline=DEADLINE)
        self._armed = False
        signal.signal(signal.SIGALRM, self._interrupt)

    def run(self) -> None:
        """Do what the orders say."""
        _tell_done()
        for line in sys.stdin:
            order = Order(**json.loads(line))
            recorder = self.recorder(order)
            if order.end:
                self._load(recorder, order)
            else:
                for call in self.looks(self.number * CALLERS, order):
                    self._make(recorder, call)
            _tell_done()

    def _load(self, recorder: LoggedRecorder, order: Order) -> None:
        forked = self.recorder(order)
        child = os.fork()
        if not child:
            try:
                signal.signal(signal.SIGALRM, signal.SIG_IGN)
                self._calls(forked, order, self.number * CALLERS + CALLERS - 1)
            finally:
                os._exit(0)
        threads = [
            threading.Thread(target=self._calls, args=(recorder, order, self.number * CALLERS + 1 + thread))
            for thread in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        self._calls(recorder, order, self.number * CALLERS)
        for thread in threads:
            thread.join()
        os.waitpid(child, 0)

    def _calls(self, recorder: LoggedRecorder, order: Order, caller: int) -> None:
        """One call after another."""
        random = Random(f"{self.number} {caller} {order.round}")
        while time.monotonic() < order.end:
            self._make(recorder, recorder.plan(caller, random))
            if caller % CALLERS == 0 and random.random() < 0.3:
                signal.setitimer(signal.ITIMER_REAL, random.random() * 0.05 + 0.001)
            time.sleep(random.random() * 0.05)

    def _make(self, recorder: LoggedRecorder, call: Call) -> None:
        recorder.began(call)
        main = threading.current_thread() is threading.main_thread()
        try:
            try:
                if main:  # the other threads leave it alone: what they read may have changed when they write
                    self._armed = True
                outcome = invoke(self.app, call)
            finally:
                if main:
                    self._armed = False
        except Interruption:
            # The signal may have come when the client had returned already. So the cause says too little here.
            call.cut = True
            outcome = CutShort(call.changes)
        except PyshardError as error:
            outcome = error
        recorder.ended(call, outcome)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise Interruption


class AioProgram(Program):
    """Tasks that share one asyncio client."""

    async def run(self) -> None:
        """Do what the orders say."""
        async with connect(self.server, deadline=DEADLINE, token_file="", tls=False) as client:
            _tell_done()
            while line := await asyncio.to_thread(sys.stdin.readline):
                order = Order(**json.loads(line))
                recorder = self.recorder(order)
                if order.end:
                    await asyncio.gather(*(self._calls(client, recorder, order) for _ in range(TASKS)))
                else:
                    for call in self.looks(self.number * CALLERS, order):
                        await self._make(client, recorder, call)
                _tell_done()

    async def _calls(self, client: AioClient, recorder: LoggedRecorder, order: Order) -> None:
        """One call after another; all tasks are one caller."""
        while time.monotonic() < order.end:
            await self._make(client, recorder, recorder.plan(self.number * CALLERS))
            await asyncio.sleep(self.random.random() * 0.05)

    async def _make(self, client: AioClient, recorder: LoggedRecorder, call: Call) -> None:
        recorder.began(call)
        future: asyncio.Future[object] = invoke(client, call)
        if self.random.random() < 0.05:
            asyncio.get_running_loop().call_later(self.random.random() * 0.05, self._cancel, call, future)
        try:
            outcome = await future
        except asyncio.CancelledError as error:
            outcome = outcome_of(call, error)
        except PyshardError as error:
            outcome = error
        recorder.ended(call, outcome)

    def _cancel(self, call: Call, future: asyncio.Future[object]) -> None:
        call.cut = not future.done()
        future.cancel()


def run_aio(server: str, file: Path, seed: int, number: int) -> None:
    """Run a program on asyncio; every second one on uvloop, where it is installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if number % 2:
        with suppress(ImportError):
            import uvloop

            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(AioProgram(server, file, seed, number).run())


def main(face: str, server: str, file: str, seed: str, number: str) -> None:
    """Run a program to the end of its orders."""
    for module in QUICKENED:
        module.settings = QUICK  # type: ignore[attr-defined]  # each imports it by this name
    if face == "asyncio":
        run_aio(server, Path(file), int(seed), int(number))
    else:
        BlockingProgram(server, Path(file), int(seed), int(number)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
