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
from functional import interruption_programs
from functional.cluster import HOST, Cluster, until
from ports import free_port

pytestmark = [pytest.mark.functional, pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")]

_LONGEST = 180  # seconds that one program may take, on a machine that is busy with other tests, too


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
    assert told(shared, interruption_programs.INTERRUPTED, call, raised) == [100, True, True, 1]


@pytest.mark.long
def test_a_handler_that_writes(shared: Cluster) -> None:
    """10,000 signals into a handler that makes a call: no deadlock, none refused, nothing lost."""
    assert told(shared, interruption_programs.HANDLER) == [10_000, 10_000, True]


def test_a_handler_that_exits(shared: Cluster) -> None:
    """`sys.exit` in a signal's handler ends the program, 100 times of 100."""
    assert told(shared, interruption_programs.ENDED) == [{"7": 100}, 1]


@pytest.mark.long
def test_forgotten_clients(shared: Cluster) -> None:
    """1,000 clients that nobody closed leave no descriptor and no thread."""
    assert told(shared, interruption_programs.FORGOTTEN) is True


def test_finalizers_and_the_end(shared: Cluster) -> None:
    """Calls work in `__del__` during a collection, also in the middle of another call, and at the program's end."""
    assert told(shared, interruption_programs.FINALIZERS) == [2000, 2001, [28]]


@pytest.mark.long
def test_forks_under_load(shared: Cluster) -> None:
    """A child that is forked at any moment, while threads make calls, works; the parent's answers stay right."""
    assert told(shared, interruption_programs.FORKS) == [{"0": 40}, []]


@pytest.mark.parametrize("when", ["before", "after", "later"])
def test_greenlets(shared: Cluster, when: str) -> None:
    """Under gevent, patched before the import, after it, or when there is a client: right answers, time limits."""
    pytest.importorskip("gevent")
    assert told(shared, interruption_programs.GREENLETS, when) == [True, 20, [0, 0]]


@pytest.mark.long
def test_time_limits_of_celery(shared: Cluster, tmp_path: Path) -> None:
    """A soft time limit in a worker comes each time, and the client that the worker inherited is usable afterwards."""
    pytest.importorskip("celery")
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "tasks.py").write_text(interruption_programs.TASKS)
    environment = {**shared.environment, "FOLDER": str(tmp_path), "SERVER": shared.server}
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2", "-P", "prefork"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            asked = [sys.executable, "-c", interruption_programs.ASKED]
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
    (tmp_path / "served.py").write_text(interruption_programs.SERVED)
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
