"""The blocking client where something comes in the middle of a call: a signal, a finalizer, a fork, a time limit.

Each program here failed on a client that ran a reactor in the thread that called.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest
from functional.cluster import HOST, Cluster, until
from ports import free_port

pytestmark = [pytest.mark.functional, pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")]

_LONGEST = 180  # seconds that one program may take, on a machine that is busy with other tests, too

#: Sends this process a signal again and again; each time it waits until `heard` has counted it.
SENDER = """
import json, os, random, signal, sys, threading, time
from pyshard import Pyshard

app = Pyshard(sys.argv[1], deadline=30)
heard = 0

def send(number, times, ready=None):
    chance = random.Random(number)
    for count in range(times):
        if ready is not None:
            ready.wait()
            ready.clear()
            time.sleep(chance.random() * 0.01)
        os.kill(os.getpid(), number)
        end = time.monotonic() + 20
        while heard == count:
            if time.monotonic() > end:
                print(f"signal {count} was swallowed", flush=True)
                os._exit(1)
            time.sleep(0)
"""

INTERRUPTED = (
    SENDER
    + """
import builtins
pairs = {f"key {number}": number for number in range(2000)}
app.write_many(pairs)
call = {
    "read": lambda: app.read("key 1"),
    "write": lambda: app.write("key 1", 1),
    "write_many": lambda: app.write_many(pairs),
    "keys": lambda: list(app.keys()),
}[sys.argv[2]]
raised = getattr(builtins, sys.argv[3])

def handler(*_):
    raise raised()

signal.signal(signal.SIGINT, handler)
ready = threading.Event()
sender = threading.Thread(target=send, args=(signal.SIGINT, 100, ready), daemon=True)
sender.start()
while heard < 100:
    try:
        ready.set()
        while True:
            call()
    except raised:
        heard += 1
sender.join()
found = [record["record"] for record in app.read_many(pairs)]
few = len(os.listdir("/proc/self/fd")) < 20
print(json.dumps([heard, found == list(pairs.values()), few, threading.active_count()]))
"""
)

HANDLER = (
    SENDER
    + """
app.remove("handled")

def handler(*_):
    global heard
    app.increment("handled")
    heard += 1

signal.signal(signal.SIGUSR1, handler)
sender = threading.Thread(target=send, args=(signal.SIGUSR1, 10_000), daemon=True)
sender.start()
turn = 0
while sender.is_alive():
    app.write("turn", turn)
    assert app.get("turn") == turn
    if turn % 50 == 0:
        app.write_many({number: turn for number in range(300)})
    turn += 1
print(json.dumps([heard, app.get("handled"), turn > 0]))
"""
)

ENDED = """
import json, os, random, signal, sys, time
from collections import Counter
from pyshard import Pyshard

app = Pyshard(sys.argv[1])
app.write("a", 1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
ends, chance = Counter(), random.Random(2)
for _ in range(100):
    child = os.fork()
    if child == 0:
        try:
            while True:
                app.read("a")
                app.write("b", 1)
        except SystemExit as error:
            os._exit(error.code)
        except BaseException:
            os._exit(9)
    time.sleep(0.03 + chance.random() * 0.02)
    os.kill(child, signal.SIGTERM)
    end = time.monotonic() + 20
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    ends[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])] += 1
print(json.dumps([dict(ends), app.get("a")]))
"""

FORGOTTEN = """
import json, os, sys, threading
from pyshard import Pyshard

def use():
    app = Pyshard(sys.argv[1])
    app.write_many({"a": 1, "b": 2})

def count():
    return [len(os.listdir("/proc/self/fd")), threading.active_count()]

use()
before = count()
for _ in range(1000):
    use()
print(json.dumps(count() == before))
"""

FINALIZERS = """
import atexit, gc, json, sys
from pyshard import Pyshard

app = Pyshard(sys.argv[1])
app.remove("finalized")

class Node:
    def __init__(self):
        self.itself = self

    def __del__(self):
        app.increment("finalized")

gc.set_threshold(50, 2, 2)
for number in range(2000):
    Node()
    app.write("x", [number])
    assert app.get("x") == [number]
gc.collect()
found = app.get("finalized")
atexit.register(lambda: print(json.dumps([found, app.increment("finalized"), app.write_many({"a": 1})])))
"""

FORKS = """
import json, os, random, sys, threading, time, warnings
from collections import Counter
from pyshard import Pyshard

warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, about forks with threads
app = Pyshard(sys.argv[1], deadline=30)
stop, wrong = threading.Event(), []

def busy(number):
    turn = 0
    while not stop.is_set():
        app.write(f"busy {number}", turn)
        if app.get(f"busy {number}") != turn:
            wrong.append(number)
        if turn % 20 == 0:
            app.write_many({f"{number} {key}": turn for key in range(200)})
        turn += 1

threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
ends, chance = Counter(), random.Random(3)
for number in range(40):
    time.sleep(chance.random() * 0.02)
    child = os.fork()
    if child == 0:
        try:
            for turn in range(10):
                app.write(f"child {number}", turn)
                assert app.get(f"child {number}") == turn
            os._exit(0)
        except BaseException:
            os._exit(1)
    ends[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])] += 1
stop.set()
for thread in threads:
    thread.join()
print(json.dumps([dict(ends), wrong]))
"""

GREENLETS = """
import json, sys
when = sys.argv[2]
if when == "before":
    from gevent import monkey
    monkey.patch_all()
from pyshard import Pyshard
if when == "later":
    app = Pyshard(sys.argv[1], deadline=30)
    app.write("early", 1)
if when != "before":
    from gevent import monkey
    monkey.patch_all()
if when != "later":
    app = Pyshard(sys.argv[1], deadline=30)
import gevent

def work(number):
    for turn in range(30):
        app.write(f"{number} {turn}", [number, turn])
        assert app.get(f"{number} {turn}") == [number, turn]
    app.write_many({f"many {number} {key}": key for key in range(300)})
    return app.get_many([f"many {number} {key}" for key in range(300)]) == list(range(300))

greenlets = [gevent.spawn(work, number) for number in range(20)]
gevent.joinall(greenlets)
limits = 0
for number in range(20):
    try:
        with gevent.Timeout(0.001 * (number % 5 + 1)):
            while True:
                app.increment("limited")
    except gevent.Timeout:
        limits += 1
print(json.dumps([[greenlet.value for greenlet in greenlets] == [True] * 20, limits, app.get("0 0")]))
"""

TASKS = """
import os
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from pyshard import Pyshard

folder = os.environ["FOLDER"]
app = Celery("tasks", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queue", "data_folder_out": f"{folder}/queue", "control_folder": f"{folder}/control"
}
store = Pyshard(os.environ["SERVER"])

@app.task(soft_time_limit=0.5)
def limited(number):
    try:
        while True:
            store.increment("celery")
            store.read("celery")
    except SoftTimeLimitExceeded:
        store.write(f"after {number}", number)
        return store.get(f"after {number}")
"""

ASKED = """
import json, tasks
results = [tasks.limited.delay(number) for number in range(16)]
print(json.dumps([result.get(timeout=60) for result in results]))
"""

SERVED = """
import os
from pyshard import Pyshard

store = Pyshard(os.environ["SERVER"])

def application(environment, begin):
    number = environment["QUERY_STRING"]
    store.write(f"web {number}", number)
    found = store.get(f"web {number}").encode()
    begin("200 OK", [("Content-Length", str(len(found)))])
    return [found]
"""


def told(cluster: Cluster, program: str, *arguments: str) -> object:
    """What a program prints, as JSON; it must end with exit code 0 and write nothing to standard error."""
    command = [sys.executable, "-c", dedent(program), cluster.server, *arguments]
    done = subprocess.run(
        command,
        cwd=cluster.folder,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=_LONGEST,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("call", "raised"),
    [
        ("read", "KeyboardInterrupt"),
        ("write", "KeyboardInterrupt"),
        ("write_many", "KeyboardInterrupt"),
        ("keys", "KeyboardInterrupt"),
        ("read", "TimeoutError"),
        ("write_many", "TimeoutError"),
        ("write", "RuntimeError"),
    ],
)
def test_interrupts(shared: Cluster, call: str, raised: str) -> None:
    """Of 100 Ctrl-C in a loop of calls none is swallowed, and everything is right and nothing left over afterwards.

    The same holds for whatever a signal's handler raises, also for what the system's errors look like.
    """
    assert told(shared, INTERRUPTED, call, raised) == [100, True, True, 1]


def test_a_handler_that_writes(shared: Cluster) -> None:
    """10,000 signals into a handler that makes a call: no deadlock, none refused, nothing lost."""
    assert told(shared, HANDLER) == [10_000, 10_000, True]


def test_a_handler_that_exits(shared: Cluster) -> None:
    """`sys.exit` in a signal's handler ends the program, 100 times of 100."""
    assert told(shared, ENDED) == [{"7": 100}, 1]


def test_forgotten_clients(shared: Cluster) -> None:
    """1,000 clients that nobody closed leave no descriptor and no thread."""
    assert told(shared, FORGOTTEN) is True


def test_finalizers_and_the_end(shared: Cluster) -> None:
    """Calls work in `__del__` during a collection, also in the middle of another call, and at the program's end."""
    assert told(shared, FINALIZERS) == [2000, 2001, [28]]


def test_forks_under_load(shared: Cluster) -> None:
    """A child that is forked at any moment, while threads make calls, works; the parent's answers stay right."""
    assert told(shared, FORKS) == [{"0": 40}, []]


@pytest.mark.parametrize("when", ["before", "after", "later"])
def test_greenlets(shared: Cluster, when: str) -> None:
    """Under gevent, patched before the import, after it, or when there is a client: right answers, time limits."""
    pytest.importorskip("gevent")
    assert told(shared, GREENLETS, when) == [True, 20, [0, 0]]


def test_time_limits_of_celery(shared: Cluster, tmp_path: Path) -> None:
    """A soft time limit in a worker comes each time, and the client that the worker inherited is usable afterwards."""
    pytest.importorskip("celery")
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "tasks.py").write_text(TASKS)
    environment = {**shared.environment, "FOLDER": str(tmp_path), "SERVER": shared.server}
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2", "-P", "prefork"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            asked = [sys.executable, "-c", ASKED]
            done = subprocess.run(
                asked, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False
            )
        finally:
            worker.terminate()
            worker.wait(30)
    assert (done.returncode, done.stderr) == (0, ""), (tmp_path / "log").read_text()
    assert json.loads(done.stdout) == list(range(16))


def test_threads_of_gunicorn(shared: Cluster, tmp_path: Path) -> None:
    """Workers with threads, forked from a program that had connected already: each request has its own answer."""
    pytest.importorskip("gunicorn")
    (tmp_path / "served.py").write_text(SERVED)
    port = free_port()
    environment = {**shared.environment, "SERVER": shared.server}
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--threads", "4"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--bind", f"{HOST}:{port}", "served:application"],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: listening(port), "gunicorn listens")
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda number: asked(port, number), range(200)))
        finally:
            server.terminate()
            server.wait(30)
    assert answers == [str(number) for number in range(200)], (tmp_path / "log").read_text()


def listening(port: int) -> bool:
    """Whether something listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def asked(port: int, number: int) -> str:
    """What the program answers to one request."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/?{number}", timeout=30) as answer:
        found: bytes = answer.read()
    return found.decode()
