"""Real clusters for the functional tests: daemons started by `twistd` in folders of their own, ended by pid.

Rules:

- every wait is a bounded poll;
- every port is outside of the range for dialing, so no socket connects to itself while a daemon is down;
- the lines about errors in a daemon's log fail the test (`Daemon.complaints`).
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from functional.machines import HERE, Machine
from ports import free_port

from pyshard import Pyshard
from pyshard.model.key_slots import SLOTS, slot_of

HOST = HERE.host
TWISTD = str(Path(sysconfig.get_path("scripts")) / "twistd")

#: Seconds after which a wait has failed; far more than it takes, for machines that are busy.
PATIENCE = 30.0

_T = TypeVar("_T")
_PAUSE = 0.02
_COMPLAINT = re.compile(r"traceback|unhandled|critical", re.IGNORECASE)


def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something holds.

    :raises AssertionError: it didn't within `seconds`; the message says what was waited for.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(_PAUSE)


def in_thread(function: Callable[[], _T]) -> _T:
    """Call a function in another thread and wait for it: pytest-twisted's reactor has this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def listens(port: int, host: str = HOST) -> bool:
    """Whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def answers(port: int) -> bool:
    """Whether a daemon without TLS answers on a port: so its reactor runs, and its signals are handled."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1) as probe:
        probe.sendall(b"\0\x04_ask\0\x011\0\x08_command\0\x04Ping\0\0")
        return bool(probe.recv(1))
    return False


def run(
    folder: Path, environment: Mapping[str, str], *command: str, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with `text` as its standard input."""
    return subprocess.run(
        command, cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def shard(name: str, start: float, end: float, port: int, size: int = 1 << 30, host: str = HOST) -> dict[str, Any]:
    """A shard as it stands in a config file."""
    return {"name": name, "start": start, "end": end, "size": size, "host": host, "port": port}


def write_config(path: Path, shards: object, bootstrap_port: int, bootstrap_host: str = HOST) -> None:
    """Write a config file, with its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"shards": shards, "bootstrap": {"host": bootstrap_host, "port": bootstrap_port}}))


class Daemon:
    """One daemon, which can be started and ended again and again.

    :param folder: its working directory; ``NAME.log``, ``NAME.err`` and ``NAME.pid`` are written there.
    :param arguments: the plugin's name and options.
    :param machine: where it runs.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        port: int,
        environment: Mapping[str, str],
        *arguments: str,
        machine: Machine = HERE,
    ) -> None:
        self.name = name
        self.port = port
        self.machine = machine
        self.address = f"{machine.host}:{port}"
        self.pid_file = folder / f"{name}.pid"
        self._folder = folder
        self._files = [folder / f"{name}.log", folder / f"{name}.err"]
        self._environment = environment
        twistd = [TWISTD, "--nodaemon", f"--pidfile={name}.pid", f"--logfile={name}.log"]
        self._command = [*machine.within, *twistd, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = 0

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return self.machine.host, self.port

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process, without waiting for it to listen."""
        assert not self.running
        with self._files[1].open("ab") as errors:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    def add_option(self, option: str) -> None:
        """Add an option for the next start; it overrides the same option before it."""
        self._command.append(option)

    def wait_listening(self) -> None:
        """Wait until it accepts connections."""
        until(lambda: listens(self.port, self.machine.host) or not self.running, f"{self.name} listens")
        assert self.running, self.log()

    def send(self, number: int) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the process to end; its exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the process with a signal; its exit code."""
        self.send(number)
        return self.wait()

    def kill(self) -> None:
        """Kill the process, if it runs."""
        if self.running:
            self.end(signal.SIGKILL)

    def log(self) -> str:
        """Everything that it has logged or written to standard output and error."""
        return "".join(file.read_text() for file in self._files if file.exists())

    def complaints(self) -> list[str]:
        """The lines about errors in its log since the last call."""
        text = self.log()
        new, self._seen = text[self._seen :], len(text)
        return [f"{self.name}: {line}" for line in new.splitlines() if _COMPLAINT.search(line)]


class Cluster:
    """A bootstrap and its shards, which divide the keyspace evenly and are called a, b, …

    :param folder: where the daemons run; ``etc/shards.json`` is written there.
    :param shards: how many.
    :param size: the limit of each, in bytes.
    :param durable: whether they keep their data, in ``data-NAME``.
    :param token_file: that of all daemons, and of the questions whether they are ready.
    :param machines: where daemons run, by their names; default: here.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        shards: int = 2,
        size: int = 1 << 30,
        durable: bool = False,
        token_file: Path | None = None,
        machines: Mapping[str, Machine] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.token_file = token_file
        guard = [] if token_file is None else [f"--token-file={token_file}"]
        self.environment = environment
        bounds = [round(number / shards, 7) for number in range(shards + 1)]
        names = "abcdefgh"[:shards]
        self.shards = [
            Daemon(
                folder,
                name,
                port,
                environment,
                "pyshard-shard",
                f"--port={port}",
                *([f"--data-dir=data-{name}"] if durable else []),
                *guard,
                *listening(machines.get(name, HERE)),
                machine=machines.get(name, HERE),
            )
            for name, port in zip(names, (free_port() for _ in names), strict=True)
        ]
        self.config = [
            shard(one.name, bounds[number], bounds[number + 1], one.port, size, one.machine.host)
            for number, one in enumerate(self.shards)
        ]
        place = machines.get("bootstrap", HERE)
        own = ["pyshard-bootstrap", "--config=etc/shards.json", *guard, *([] if place.is_here else ["--insecure"])]
        self.bootstrap = Daemon(folder, "bootstrap", free_port(), environment, *own, machine=place)
        self.write_config()

    @property
    def daemons(self) -> list[Daemon]:
        """Bootstrap and shards."""
        return [self.bootstrap, *self.shards]

    @property
    def server(self) -> str:
        """What clients are to be given: the bootstrap's address."""
        return self.bootstrap.address

    def write_config(self) -> None:
        """Write `config` to the config file."""
        path, bootstrap = self.folder / "etc" / "shards.json", self.bootstrap
        write_config(path, self.config, bootstrap.port, bootstrap.machine.host)

    def start(self) -> None:
        """Start every daemon that isn't running, and wait until all are ready."""
        for daemon in self.daemons:
            if not daemon.running:
                daemon.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the bootstrap calls every shard ready."""
        self.wait_states(*["ready"] * len(self.shards))

    def wait_states(self, *states: str) -> list[dict[str, str]]:
        """Wait until the shards are in these states, in slot order; what the bootstrap says of each."""
        seen: list[dict[str, str]] = []

        def as_wanted(app: Pyshard) -> bool:
            seen[:] = app.readiness()
            return [one["state"] for one in seen] == list(states)

        def wait() -> None:
            with Pyshard(self.server, deadline=PATIENCE, token_file=self.token_file) as app:
                until(lambda: as_wanted(app), f"shards are {states}")

        in_thread(wait)
        return seen

    def keys(self, number: int, amount: int, index: str = "") -> list[str]:
        """Some keys that a shard owns.

        :param number: the shard's, from 0.
        """
        return list(islice(self._keys(number, index), amount))

    def _keys(self, number: int, index: str) -> Iterator[str]:
        own = self.config[number]
        for text in map("key{}".format, count()):
            hash_ = slot_of(text.encode(), index.encode()) / SLOTS
            if any(start <= hash_ < end for start, end in own.get("ranges") or [(own["start"], own["end"])]):
                yield text

    def script(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in a process of its own."""
        return run(self.folder, self.environment, sys.executable, "-c", code, *arguments)


#: Makes a cluster that isn't started yet; arguments: how many shards, and the limit of each.
NewCluster: TypeAlias = Callable[..., Cluster]


def listening(machine: Machine) -> list[str]:
    """The options of a shard that is to be reached on a machine."""
    return [] if machine.is_here else [f"--host={machine.host}", "--insecure"]


def clean_environment() -> dict[str, str]:
    """This process's environment, without the variables that could change which modules a child imports."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSHARD"))}
