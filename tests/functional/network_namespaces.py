"""Machines for real processes, in a network that can be cut in one direction: network namespaces, made by `ip`.

Each machine is a namespace with one link, which leads to a router. The router is a namespace, too, and passes packets
on by its routes. A cut is a rule of its routing for packets from one machine to another: these vanish without a word,
as behind a broken switch. The way back stays as it is.

Rules:

- the network of the system itself is left alone: no link leads there, and settings are changed within namespaces only;
- every namespace has the pid of the test's process in its name. Those of processes that are gone are removed;
- with the namespaces all links and rules go.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from functional.machines import Machine

_FOLDER = Path("/run/netns")
_NAME = re.compile(r"pyshard-(\d+)-\S+")
_ROUTER = "192.0.2.254"  # these addresses are for documentation, and no network has them
_MOST = 200
_CLONE_NEWNET = 0x40000000

#: What the router is told: to pass packets on, whatever way their answers take.
_SETTINGS = {"ip_forward": 1, "conf/all/rp_filter": 0, "conf/default/rp_filter": 0}

_numbers = count(1)


class NoNetwork(Exception):
    """Namespaces can't be made here; the message says why."""


class Network:
    """Machines, each of which reaches all others.

    :param names: of the machines.
    :raises NoNetwork: it can't be made.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if os.geteuid():
            raise NoNetwork("only root may make network namespaces")
        for program in ("ip", "nsenter"):
            if shutil.which(program) is None:
                raise NoNetwork(f"there is no program {program}; Debian's packages are iproute2 and util-linux")
        assert len(names) <= _MOST
        self._prefix = f"pyshard-{os.getpid()}-{next(_numbers)}-"
        self._cuts: list[str] = []
        self.machines: dict[str, Machine] = {}
        remove_left_over()
        try:
            self._make(names)
        except BaseException:
            self.close()
            raise

    def enter(self, name: str) -> None:
        """Have the calling thread be on a machine from now on, and all threads and processes that it starts."""
        _enter(self._prefix + name)

    def cut(self, source: str, target: str) -> None:
        """Have all vanish that one machine sends another one."""
        rule = f"from {self.machines[source].host} to {self.machines[target].host} pref 100 blackhole"
        self._cuts.append(rule)
        _ip([f"rule add {rule}"], self._prefix + "router")

    def heal(self) -> None:
        """Have everything be passed on again."""
        cuts, self._cuts = self._cuts, []
        _ip([f"rule del {rule}" for rule in cuts], self._prefix + "router")

    def close(self) -> None:
        """Remove everything. What runs on the machines must have ended."""
        _remove(name for name in _names() if name.startswith(self._prefix))

    def _make(self, names: Sequence[str]) -> None:
        router = self._prefix + "router"
        _ip([f"netns add {self._prefix}{name}" for name in ("router", *names)])
        links = ["link set lo up", f"address add {_ROUTER}/32 dev lo"]
        for number, name in enumerate(names, 1):
            inside, host, link = self._prefix + name, f"192.0.2.{number}", f"link{number}"
            links += [
                f"link add {link} type veth peer name eth0 netns {inside}",
                f"link set {link} up",
                f"route add {host}/32 dev {link} src {_ROUTER}",
            ]
            within = ("nsenter", f"--net={_FOLDER / inside}", "--")
            self.machines[name] = Machine(host, within)
        _ip(links, router)
        for name, machine in self.machines.items():
            own = [
                "link set lo up",
                f"address add {machine.host}/32 dev eth0",
                "link set eth0 up",
                f"route add default via {_ROUTER} dev eth0 onlink src {machine.host}",
            ]
            _ip(own, self._prefix + name)
        lines = [f"echo {value} > /proc/sys/net/ipv4/{name}" for name, value in _SETTINGS.items()]
        _run(["nsenter", f"--net={_FOLDER / router}", "--", "sh", "-e", "-c", "\n".join(lines)])


def remove_left_over() -> None:
    """Remove the namespaces of tests whose process has gone without doing so."""
    _remove(name for name in _names() if (found := _NAME.fullmatch(name)) and not _runs(int(found[1])))


def _names() -> list[str]:
    return sorted(path.name for path in _FOLDER.iterdir()) if _FOLDER.exists() else []


def _remove(names: Iterable[str]) -> None:
    for name in names:
        with suppress(NoNetwork):  # another test has just removed it
            _ip([f"netns delete {name}"])


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _enter(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with (_FOLDER / name).open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"can't enter {name}")


def _ip(lines: Sequence[str], namespace: str = "") -> None:
    """Have `ip` do something, one line after the other."""
    within = ["-netns", namespace] if namespace else []
    _run(["ip", *within, "-batch", "-"], "".join(f"{line}\n" for line in lines))


def _run(command: Sequence[str], text: str = "") -> None:
    """Run a command to its end.

    :raises NoNetwork: it failed.
    """
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise NoNetwork(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def network_or_skip(names: Sequence[str]) -> Iterator[Network]:
    """Machines for one test, which is skipped where there can be none."""
    try:
        made = Network(names)
    except NoNetwork as error:
        pytest.skip(f"network namespaces can't be made here: {error}")
    try:
        yield made
    finally:
        made.close()
