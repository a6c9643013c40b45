"""The programs of recorded histories (`history_program`), as a test starts them, orders them about, and kills them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from os import pathsep
from pathlib import Path

import attrs
from functional.cluster import PATIENCE, Cluster
from functional.history_program import Order
from functional.machines import HERE, Machine
from history_calls import Call, CutShort

_SCRIPT = Path(__file__).with_name("history_program.py")
_NEVER = 1 << 62  # moments; later than any

#: What a program writes: the number of the round, and a call.
Logged = tuple[int, Call]


class HistoryProcess:
    """A program, in a process of its own.

    :param face: ``blocking`` or ``asyncio``.
    :param server: the bootstrap's address, as it is to know it.
    :param number: its own; no other program has it.
    :param machine: where it runs.
    """

    def __init__(
        self, cluster: Cluster, face: str, server: str, seed: int, number: int, machine: Machine = HERE
    ) -> None:
        self.face = face
        self.killed = False
        self._log = cluster.folder / f"calls of program {number}"
        self._errors = cluster.folder / f"errors of program {number}"
        self._read = 0
        path = [cluster.environment.get("PYTHONPATH", ""), str(_SCRIPT.parents[1])]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*machine.within, sys.executable, str(_SCRIPT), face, server, str(self._log), str(seed), str(number)],
                env={**cluster.environment, "PYTHONPATH": pathsep.join(filter(None, path))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def order(self, order: Order) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(attrs.asdict(order)) + "\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Wait until it has done what it was told last, or was killed."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer == "done\n" or self.killed, f"{self.face}: {self._errors.read_text()}"

    def kill(self) -> None:
        """Kill it in the middle of what it does."""
        self.killed = True
        self._process.kill()

    def end(self) -> None:
        """End it; it has written nothing to standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        code = self._process.wait(PATIENCE)
        self._process.stdout.close()
        if not self.killed:
            errors = self._errors.read_text()
            assert (code, errors) == (0, ""), f"{self.face} ended with {code}: {errors}"

    def calls(self) -> list[Call]:
        """The calls that it has made since it was asked before; what it was killed in never ended."""
        found: dict[tuple[int, int, int], Call] = {}
        for number, call in self._logged():
            found[number, call.client, call.number] = call
        for call in found.values():
            if not call.ended:
                call.ended, call.cut, call.outcome = _NEVER, True, CutShort(call.changes)
        return list(found.values())

    def _logged(self) -> Iterator[Logged]:
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._read)
            while True:
                try:
                    yield pickle.load(file)
                except (EOFError, pickle.UnpicklingError):  # the end, or what was cut off when it was killed
                    return
                self._read = file.tell()
