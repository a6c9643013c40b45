"""The machines of tests with cut networks: they reach each other, a cut has one direction, and all goes again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from functional.network_namespaces import Network, NoNetwork, network_or_skip, remove_left_over

pytestmark = pytest.mark.functional

_PORT = 7000
_NAMES = ("a", "b", "c")


@pytest.fixture
def network() -> Iterator[Network]:
    """Three machines."""
    with network_or_skip(_NAMES) as made:
        yield made


def arrives(network: Network, source: str, target: str) -> bool:
    """Whether a datagram gets from one machine to another."""
    network.enter(target)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind((network.machines[target].host, _PORT))
        receiving.settimeout(0.3)
        network.enter(source)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"x", (network.machines[target].host, _PORT))
        try:
            return receiving.recv(10) == b"x"
        except TimeoutError:
            return False


def namespaces() -> list[str]:
    """Those of this process."""
    found = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if f"pyshard-{os.getpid()}-" in line]


def test_a_cut_has_a_direction(network: Network) -> None:
    """What one sends another is lost, the way back stays, and so do all other ways. Healed, all is as before."""
    network.cut("a", "b")
    ways = [(source, target) for source in _NAMES for target in _NAMES if source != target]
    assert [way for way in ways if not arrives(network, *way)] == [("a", "b")]
    network.heal()
    assert arrives(network, "a", "b")


def test_everything_is_removed(network: Network) -> None:
    """A network leaves nothing behind, and neither does one whose making failed."""
    assert len(namespaces()) == 1 + len(_NAMES)
    network.close()
    assert namespaces() == []
    with pytest.raises(NoNetwork):
        Network(["a", "a"])
    assert namespaces() == []


def test_what_others_left_is_removed(network: Network) -> None:
    """Namespaces of a process that has gone are removed, and those of this one stay."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = f"pyshard-{gone.pid}-1-x"
    subprocess.run(["ip", "netns", "add", left], check=True)
    remove_left_over()
    assert not Path("/run/netns", left).exists()
    assert len(namespaces()) == 1 + len(_NAMES)


def test_it_is_told_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who isn't root, or has no `ip`, hears so: tests are skipped for that reason."""
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(NoNetwork, match="only root"):
        Network(_NAMES)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NoNetwork, match="iproute2"):
        Network(_NAMES)
