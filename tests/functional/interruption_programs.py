"""Programs that use the blocking client while something comes in the middle of its calls.

Each gets the bootstrap's address as its first argument, or in `SERVER`, and prints what it found as JSON.
"""

from __future__ import annotations

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
    begun, begins = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(begins, b"x")
            while True:
                app.read("a")
                app.write("b", 1)
        except SystemExit as error:
            os._exit(error.code)
        except BaseException:
            os._exit(9)
    os.read(begun, 1)  # Python drops signals that come while it forks
    os.close(begun)
    os.close(begins)
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
