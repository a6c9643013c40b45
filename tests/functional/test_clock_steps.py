"""Real processes whose wall clock is put back or on in the middle of their work: only times to live notice it."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from functional.cluster import HOST, PATIENCE, Cluster, NewCluster, run, until
from functional.stepped_clock import STEP, STEPS, SteppedClock
from functional.up_run import Up

from pyshard import Pyshard

pytestmark = [pytest.mark.functional, STEPS]

#: Seconds that a clock is put back: far more than any wait here.
BACK = -600

#: What each program begins with. Steps come from a thread, which sleeps by a clock that isn't stepped.
PROGRAM = (
    STEP
    + """
import json, signal, sys, threading, time
def later(seconds, function, *arguments):
    def work():
        time.sleep(seconds)
        function(*arguments)
    threading.Thread(target=work, daemon=True).start()
def report(outcome, began):
    print(json.dumps([outcome, round(time.monotonic() - began, 2)]))
def wake():
    pass
server, key, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
"""
)

#: How a program of each client does something: `prepare()`, then `verb(client)` so many times at once. `wake()`, of any
#: thread, has its reactor or loop look at its timers.
FACES = {
    "deferred": """
from twisted.internet.defer import gatherResults
from twisted.internet.task import react
from pyshard import connect
async def main(reactor):
    global wake
    wake = lambda: reactor.callFromThread(int)
    client = await connect(reactor, server)
    await client.has(key)
    began = time.monotonic()
    prepare()
    try:
        outcome = await gatherResults([verb(client) for _ in range(number)], consumeErrors=True)
    except Exception as error:
        outcome = type(getattr(error, "subFailure", None) and error.subFailure.value or error).__name__
    report(outcome, began)
react(main)
""",
    "asyncio": """
import asyncio
from pyshard.aio import connect
async def main():
    global wake
    loop = asyncio.get_running_loop()
    wake = lambda: loop.call_soon_threadsafe(int)
    async with connect(server) as client:
        await client.has(key)
        began = time.monotonic()
        prepare()
        try:
            outcome = list(await asyncio.gather(*[verb(client) for _ in range(number)]))
        except Exception as error:
            outcome = type(error).__name__
        report(outcome, began)
asyncio.run(main())
""",
    "blocking": """
from concurrent.futures import ThreadPoolExecutor
from pyshard import Pyshard
client = Pyshard(server)
client.has(key)
began = time.monotonic()
prepare()
try:
    with ThreadPoolExecutor(number) as pool:
        outcome = list(pool.map(verb, [client] * number))
except Exception as error:
    outcome = type(error).__name__
report(outcome, began)
""",
}

faces = pytest.mark.parametrize("face", FACES)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library that moves clocks."""
    return tmp_path_factory.mktemp("clock")


@pytest.fixture
def clock(library: Path, tmp_path: Path) -> SteppedClock:
    """A clock that goes right as yet."""
    return SteppedClock(library, tmp_path / "clock")


@pytest.fixture
def stepped(new_cluster: NewCluster, environment: Mapping[str, str], clock: SteppedClock) -> Cluster:
    """A cluster of two shards that goes by `clock`, ready."""
    made = new_cluster(environment=clock.of(environment))
    made.start()
    return made


def program(cluster: Cluster, clock: SteppedClock, face: str, code: str, number: int = 1) -> tuple[Any, float]:
    """What a program on `clock` reports: its outcome, and how many seconds its work took.

    :param code: defines `prepare` and `verb`.
    :param number: how many verbs it calls at a time.
    """
    text = f"{PROGRAM}\nnumber = {number}\n{code}\n{FACES[face]}"
    command = [sys.executable, "-c", text, cluster.server, cluster.keys(0, 1)[0], str(cluster.shards[0].pid)]
    done = run(cluster.folder, clock.of(cluster.environment), *command)
    assert (done.returncode, done.stderr) == (0, "")
    outcome, seconds = json.loads(done.stdout)
    return outcome, seconds


@faces
@pytest.mark.parametrize("number", [1, pytest.param(5, marks=pytest.mark.long)])
def test_a_deadline_while_the_clock_is_put_back(cluster: Cluster, clock: SteppedClock, face: str, number: int) -> None:
    """A read of a silent shard comes back at its deadline."""
    outcome, seconds = program(
        cluster,
        clock,
        face,
        f"""
def prepare():
    os.kill(pid, signal.SIGSTOP)
    later(0.5, step, {BACK})
def verb(client):
    return client.read(key, deadline=2)
""",
        number,
    )
    assert outcome == "Unavailable"
    assert 1.9 < seconds < 20


@pytest.mark.long
@faces
def test_writes_in_flight_while_the_clock_is_put_on(cluster: Cluster, clock: SteppedClock, face: str) -> None:
    """They wait for their answers as long as they may: none is in doubt."""
    outcome, seconds = program(
        cluster,
        clock,
        face,
        """
def prepare():
    os.kill(pid, signal.SIGSTOP)
    later(0.5, step, 60)
    later(1.0, lambda: wake())
    later(1.5, os.kill, pid, signal.SIGCONT)
def verb(client):
    return client.write(key, 1)
""",
        5,
    )
    assert outcome == [outcome[0]] * 5
    assert seconds > 1.4


@faces
@pytest.mark.parametrize("seconds", [-10, pytest.param(10, marks=pytest.mark.long)])
def test_work_while_the_clock_is_stepped(cluster: Cluster, clock: SteppedClock, face: str, seconds: int) -> None:
    """A client that works all the time notices nothing of many steps: no call waits for a clock to catch up."""
    outcome, took = program(
        cluster,
        clock,
        face,
        f"""
def prepare():
    def steps():
        for _ in range(200):
            step({seconds})
            time.sleep(0.01)
        over.set()
    later(0, steps)
over = threading.Event()
def works(client):
    while not over.is_set():
        yield client.increment(key, deadline=5)
if {face == "blocking"}:
    def verb(client):
        return len(list(works(client))) > 10
else:
    async def verb(client):
        return len([await one for one in works(client)]) > 10
    if {face == "deferred"}:
        from twisted.internet.defer import Deferred
        plain = verb
        def verb(client):
            return Deferred.fromCoroutine(plain(client))
""",
    )
    assert outcome == [True]
    assert took < 20


def test_a_shard_that_comes_back_after_the_clock_was_put_back(stepped: Cluster, clock: SteppedClock) -> None:
    """The bootstrap goes on dialing it, and configures it as soon as it is there."""
    shard = stepped.shards[0]
    shard.kill()
    stepped.wait_states("unreachable", "ready")
    clock.step(BACK)
    time.sleep(2)  # by then, any wait that was begun before the step is over
    shard.start()
    stepped.wait_ready()


@pytest.mark.parametrize("seconds", [-10, pytest.param(10, marks=pytest.mark.long)])
def test_daemons_at_work_while_the_clock_is_stepped(stepped: Cluster, clock: SteppedClock, seconds: int) -> None:
    """Clients notice nothing of it."""
    with Pyshard(stepped.server, deadline=8) as app:  # a call that waited for a clock would wait for 10 s
        for number in range(300):
            clock.step(seconds)
            assert app.increment(f"key{number}", ttl=1e6) == 1
            time.sleep(0.005)
        assert [one["state"] for one in app.readiness()] == ["ready", "ready"]


@pytest.mark.long
def test_half_a_box_while_the_clock_is_put_on(stepped: Cluster, clock: SteppedClock) -> None:
    """A peer has as long as ever to finish what it began: it isn't cut off, and the daemon answers."""
    ask = {b"_ask": b"1", b"_command": b"Ping"}
    box = b"".join(struct.pack("!H", len(part)) + part for pair in ask.items() for part in pair) + b"\0\0"
    with socket.create_connection((HOST, stepped.shards[0].port), PATIENCE) as peer:
        peer.sendall(box[:5])
        time.sleep(0.2)
        clock.step(86_400)
        time.sleep(1)
        peer.sendall(box[5:])
        assert b"_answer" in peer.recv(1000)


def test_times_to_live_follow_the_clock(stepped: Cluster, clock: SteppedClock) -> None:
    """A document is gone when the shard's clock says so; put back in time, the clock lets it live as much longer."""
    with Pyshard(stepped.server) as app:
        app.write("short", 1, ttl=1000)
        app.write("long", 1, ttl=3000)
        clock.step(2000)
        assert [app.read("short"), app.read("long") is not None] == [None, True]
        clock.step(-4000)
        found = app.item("long")
        assert found is not None
        assert found["ttl"] is not None
        assert 4900 < found["ttl"] < 5001
        clock.step(3000)
        shards = cast("list[dict[str, Any]]", app.stat()["shards"])
        assert all(0 <= shard["uptime"] < 600 for shard in shards)


@pytest.mark.long
def test_up_while_the_clock_is_put_back(clock: SteppedClock, environment: Mapping[str, str], tmp_path: Path) -> None:
    """A daemon that ends is started again, and the run ends when it is told to."""
    up = Up(tmp_path, clock.of(environment))
    try:
        up.wait_ready()
        before = up.pid("a")
        os.kill(before, signal.SIGKILL)
        until(lambda: "shard 'a' ended" in up.text(), "its end is noticed")  # it is to be started again 0.2 s later
        clock.step(BACK)
        until(lambda: up.pid("a") not in (0, before), "the shard is started again")
        with Pyshard(f"{HOST}:{up.bootstrap}", deadline=PATIENCE) as app:
            until(lambda: [one["state"] for one in app.readiness()] == ["ready"] * 2, "both are ready")
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(PATIENCE) == 0
    finally:
        up.process.kill()


@pytest.mark.long
def test_a_command_while_the_clock_is_put_back(
    cluster: Cluster, clock: SteppedClock, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """It ends at its deadline when a shard is silent."""
    cluster.shards[0].send(signal.SIGSTOP)
    command = [sys.executable, "-m", "pyshard.cli", "--bootstrap", cluster.server, "--deadline", "3", "backup", "saved"]
    with subprocess.Popen(command, cwd=tmp_path, env=clock.of(environment), stderr=subprocess.PIPE) as process:
        time.sleep(1.5)
        clock.step(BACK)
        try:
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode != 0
    assert errors.startswith(b"pyshard: ")
