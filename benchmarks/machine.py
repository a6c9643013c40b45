"""Describes where a run took place: the machine, and the versions of all programs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from peers.original import VERSION as ORIGINAL

from pyshard.compiled import IN_USE

_PACKAGES = (
    "pyshard",
    "twisted",
    "lmdb",
    "msgspec",
    "redis",
    "hiredis",
    "txredisapi",
    "pymemcache",
    "emcache",
    "diskcache",
    "etcd3gw",
)


def describe(folder: Path) -> list[tuple[str, str]]:
    """The machine, as pairs of a property and its value.

    :param folder: where durable stores keep their data.
    """
    processor = re.search(r"^model name\s*: (.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE)
    return [
        ("processor", f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} cores"),
        ("memory", f"{int(memory[1]) / 1024**2:.0f} GiB" if memory else "unknown"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("inner loops of pyshard", "compiled" if IN_USE else "plain Python"),
        ("file system of durable stores", file_system(folder)),
    ]


class OtherPrograms:
    """The CPU time of programs other than this one and its children, since it was made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._busy = busy_seconds(_text("/proc/stat"), os.sysconf("SC_CLK_TCK"))
        self._own = sum(os.times()[:4])

    def share(self) -> float:
        """Their share of all CPU time, from 0 to 1; right only after the children have ended."""
        busy = busy_seconds(_text("/proc/stat"), os.sysconf("SC_CLK_TCK")) - self._busy
        own = sum(os.times()[:4]) - self._own
        return max(busy - own, 0.0) / ((time.monotonic() - self._begun) * (os.cpu_count() or 1))


def busy_seconds(stat: str, ticks: int) -> float:
    """Seconds for which the cores were busy: all of /proc/stat but idle and iowait.

    :param stat: the text of /proc/stat.
    :param ticks: its units in a second.
    """
    found = re.match(r"cpu +(\d+) (\d+) (\d+) \d+ \d+ (\d+) (\d+) (\d+)", stat)
    return sum(map(int, found.groups())) / ticks if found else 0.0


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, such as ext4."""
    where, found = "", "unknown"
    for line in _text("/proc/mounts").splitlines():
        _, mount, kind, *_ = line.split(" ")
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(where):
            where, found = mount, kind
    return found


def versions() -> list[tuple[str, str]]:
    """Pairs of a program or package and its version."""
    found = [(platform.python_implementation(), platform.python_version())]
    for package in _PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            found.append((package, "not installed"))
    found += [("original pyshard", ORIGINAL), ("sqlite", sqlite3.sqlite_version)]
    return found + [(program, _program(program)) for program in ("redis-server", "memcached", "etcd")]


def _program(name: str) -> str:
    if shutil.which(name) is None:
        return "not installed"
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"\d+\.\d+\.\d+", said)
    return number[0] if number else "unknown"


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
