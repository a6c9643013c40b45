"""Real etcd servers for the functional tests: one, or three, with TLS and users if wanted."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from functional.cluster import PATIENCE, listens, until
from functional.machines import HERE, Machine
from ports import free_port

from pyshard import Tls

ETCD = shutil.which("etcd")
needs_etcd = pytest.mark.skipif(ETCD is None, reason="there is no etcd; Debian's package is etcd-server")

#: Milliseconds of etcd's heartbeat and election: short, so that a new leader is there soon.
_HEARTBEAT, _ELECTION = 50, 500


class EtcdServers:
    """An etcd cluster.

    :param folder: where they keep their data and logs.
    :param peers: where they reach each other, if they have data; default: anywhere.
    :param tls: their certificate, which is for 127.0.0.1; None: they speak plain HTTP.
    :param machines: where each of them runs; default: here.
    """

    def __init__(
        self,
        folder: Path,
        members: int = 1,
        tls: Tls | None = None,
        peers: Sequence[str] | None = None,
        machines: Sequence[Machine] | None = None,
    ) -> None:
        assert ETCD is not None
        self.folder = folder
        self.machines = machines or [HERE] * members
        self._tls = tls
        self.ports = [free_port() for _ in range(members)]
        self.peers = list(peers or (f"http://{machine.host}:{free_port()}" for machine in self.machines))
        names = [f"m{number}" for number in range(members)]
        self._together = ",".join(f"{name}={peer}" for name, peer in zip(names, self.peers, strict=True))
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * members

    @property
    def address(self) -> str:
        """What ``--state`` is given."""
        places = zip(self.machines, self.ports, strict=True)
        return "etcd://" + ",".join(f"{machine.host}:{port}" for machine, port in places) + "/pyshard"

    def start(self, *numbers: int) -> None:
        """Start members, all by default, and wait until they answer."""
        chosen = numbers or tuple(range(len(self.ports)))
        for number in chosen:
            self._start(number)
        for number in chosen:
            until(partial(self._answers, number), f"etcd {number} answers", PATIENCE)

    def _start(self, number: int) -> None:
        scheme = "http" if self._tls is None else "https"
        machine = self.machines[number]
        client = f"{scheme}://{machine.host}:{self.ports[number]}"
        options = {
            "name": f"m{number}",
            "data-dir": str(self.folder / f"m{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": self.peers[number],
            "initial-advertise-peer-urls": self.peers[number],
            "initial-cluster": self._together,
            "heartbeat-interval": str(_HEARTBEAT),
            "election-timeout": str(_ELECTION),
            "logger": "zap",
            "log-outputs": str(self.folder / f"m{number}.log"),
        }
        if self._tls is not None:
            options |= {
                "cert-file": str(self._tls.certificate),
                "key-file": str(self._tls.key),
                "trusted-ca-file": str(self._tls.ca),
            }
        assert ETCD is not None
        command = [*machine.within, ETCD, *(f"--{name}={value}" for name, value in options.items())]
        if self._tls is not None:
            command.append("--client-cert-auth")
        self._processes[number] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _answers(self, number: int) -> bool:
        process = self._processes[number]
        assert process is not None
        assert process.poll() is None, (self.folder / f"m{number}.log").read_text()[-3000:]
        if self._tls is not None:  # who asks needs a certificate
            return listens(self.ports[number], self.machines[number].host)
        try:
            return bool(self.call(number, "kv/range", {"key": _text("a")}))
        except OSError:
            return False

    def call(self, number: int, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        """Call a member's gateway, without TLS."""
        headers = {"Authorization": token} if token else {}
        request = urllib.request.Request(
            f"http://{self.machines[number].host}:{self.ports[number]}/v3/{path}", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=2) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def want_login(self, user: str, password: str) -> None:
        """Have calls of all members want a login, of this user, who may do everything."""
        self.call(0, "auth/user/add", {"name": "root", "password": "root's own"})
        self.call(0, "auth/user/grant", {"user": "root", "role": "root"})
        self.call(0, "auth/user/add", {"name": user, "password": password})
        self.call(0, "auth/role/add", {"name": "pyshard"})
        everything = {"permType": "READWRITE", "key": _text("/pyshard/"), "range_end": _text("/pyshard0")}
        self.call(0, "auth/role/grant", {"name": "pyshard", "perm": everything})
        self.call(0, "auth/user/grant", {"user": user, "role": "pyshard"})
        self.call(0, "auth/enable", {})

    def leader(self) -> int:
        """The number of the member that leads."""
        statuses = [self.call(number, "maintenance/status", {}) for number in range(len(self.ports))]
        return next(number for number, one in enumerate(statuses) if one["header"]["member_id"] == one["leader"])

    def compact(self) -> None:
        """Have old revisions be forgotten."""
        revision = self.call(0, "kv/range", {"key": _text("a")})["header"]["revision"]
        self.call(0, "kv/compaction", {"revision": revision, "physical": True})

    def kill(self, *numbers: int) -> None:
        """Kill members, all by default."""
        for number in numbers or range(len(self.ports)):
            process = self._processes[number]
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(PATIENCE)

    def freeze(self, number: int, frozen: bool = True) -> None:
        """Have a member stand still, or go on."""
        process = self._processes[number]
        assert process is not None
        process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def close(self) -> None:
        """End all of them."""
        for number in range(len(self.ports)):
            self.freeze(number, False) if self._runs(number) else None
        self.kill()

    def _runs(self, number: int) -> bool:
        process = self._processes[number]
        return process is not None and process.poll() is None


def _text(key: str) -> str:
    return base64.b64encode(key.encode()).decode()
