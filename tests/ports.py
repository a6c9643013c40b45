"""Ports for tests that listen for real."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from io import TextIOWrapper
from itertools import cycle
from pathlib import Path

#: Outside of the ranges from which the system takes ports for dialing, and `pyshard up` takes its own.
_FIRST = 10_000
_PORTS = 10_000
_PORTS_OF_A_PROCESS = 200


def free_port() -> int:
    """A port that nobody listens on, and that no other process of tests takes.

    A daemon that is started again needs the port that it had, and one that is about to start doesn't have it yet. So
    "nobody listens there now" isn't enough: the last port to be given again is the one that was given last.
    """
    _, ports = _own_ports()
    while True:
        port = next(ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@cache
def _own_ports() -> tuple[TextIOWrapper, Iterator[int]]:
    """This process's own ports, again and again, and the locked file that keeps them its own until the process ends."""
    folder = Path(tempfile.gettempdir()) / f"pyshard-test-ports-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    blocks = list(range(_FIRST, _FIRST + _PORTS, _PORTS_OF_A_PROCESS))
    random.shuffle(blocks)  # a daemon that outlived its tests is not met at once by the next ones
    for first in blocks:
        file = (folder / str(first)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return file, cycle(range(first, first + _PORTS_OF_A_PROCESS))
    raise AssertionError(f"all {len(blocks)} blocks of ports are taken; see the locks in {folder}")
