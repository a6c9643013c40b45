"""Server processes: started for the benchmark, measured through /proc, and ended by their ids.

Rules:

- a process ends with the benchmark, however that ends: Linux ends it when its parent is gone;
- it listens on loopback only;
- its output goes to a log, which is quoted when it doesn't start.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import processors

from pyshard.cli.up.daemon_commands import Daemon

HOST = "127.0.0.1"

#: Seconds within which a process must listen, or end.
PATIENCE = 30.0

_PAUSE = 0.01
_TICK = os.sysconf("SC_CLK_TCK")
_given: set[int] = set()


class Unavailable(Exception):
    """A side of a comparison can't run here; the message says what isn't installed or doesn't start."""


class Processes:
    """Server processes that end together.

    :param folder: where they run; NAME.log is written there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> int:
        """Start a process, from the main thread; its id."""
        return self.start_daemon(Daemon(name, self.folder / f"{name}.log", self.folder / f"{name}.pid", list(command)))

    def start_daemon(self, daemon: Daemon) -> int:
        """Start a process that `up` would run, from the main thread; its id."""
        with processors.for_servers():
            process = subprocess.Popen(daemon.wrapped, cwd=self.folder, stdin=subprocess.DEVNULL)
        self._running[daemon.name] = process
        return process.pid

    def wait_listening(self, *ports: int) -> None:
        """Wait until every port accepts connections.

        :raises Unavailable: a process has ended, or it takes too long.
        """
        end = time.monotonic() + PATIENCE
        for port in ports:
            while not _listens(port):
                self.check()
                if time.monotonic() > end:
                    raise Unavailable(f"nothing listens on port {port} after {PATIENCE:g} s; logs: {self.folder}")
                time.sleep(_PAUSE)

    def check(self) -> None:
        """Refuse to go on when a process has ended.

        :raises Unavailable: a process has ended; the message quotes the last line of its log.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                log = self.folder / f"{name}.log"
                lines = log.read_text(errors="replace").split("\n") if log.exists() else []
                last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
                raise Unavailable(f"{name} ended with code {process.returncode}: {last.strip()}")

    def close(self) -> None:
        """End all of them."""
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def free_port() -> int:
    """A free port, each time another one, outside of the range from which the system dials."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def cpu_seconds(pids: list[int]) -> float:
    """CPU seconds that processes, with all their threads, have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def resident_bytes(pids: list[int]) -> int:
    """Bytes of memory that processes have resident."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
