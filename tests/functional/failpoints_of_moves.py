"""Arms the failpoints of a cluster's daemons: what `failpoints/sitecustomize.py` does there is told from here."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from os import pathsep
from pathlib import Path

from functional.cluster import Daemon

_CODE = Path(__file__).with_name("failpoints")


class Failpoints:
    """Those of one cluster.

    :param folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """That of daemons with failpoints."""
        path = pathsep.join(filter(None, [str(_CODE), environment.get("PYTHONPATH", "")]))
        return {**environment, "PYTHONPATH": path, "FAILPOINTS": str(self._folder)}

    def arm(self, daemon: Daemon, point: str, calls: int = 1, number: int = signal.SIGKILL) -> None:
        """Have a daemon send itself a signal at a point.

        :param calls: how often the point is to be reached.
        """
        new = self._folder / f"{daemon.name}.new"
        new.write_text(f"{point}\n{calls}\n{int(number)}")
        new.replace(self._folder / daemon.name)

    def fired(self, daemon: Daemon) -> bool:
        """Whether it has happened."""
        return not (self._folder / daemon.name).exists()

    def disarm(self, daemon: Daemon) -> bool:
        """Have nothing happen any more; whether it has happened."""
        try:
            (self._folder / daemon.name).unlink()
        except FileNotFoundError:
            return True
        return False

    def reached(self, daemon: Daemon) -> set[str]:
        """The points that a daemon has reached."""
        file = self._folder / f"{daemon.name}.reached"
        return set(file.read_text().splitlines()) if file.exists() else set()
