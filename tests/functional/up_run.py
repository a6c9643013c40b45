"""`pyshard up` as a process of its own, and the daemons that it runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from functional.cluster import shard, until, write_config
from functional.shell import COMMAND
from ports import free_port


def gone(pid: int) -> bool:
    """Whether a process has ended (a child that nobody has waited for has)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


class Up:
    """A running `pyshard up`.

    :param folder: where it runs; its run directory, unless `options` say otherwise, is ``run`` in it.
    :param configured: whether it is given a config file.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *options: str, configured: bool = True) -> None:
        self.folder = folder
        self.bootstrap = free_port()
        if configured:
            shards = [shard("a", 0.0, 0.5, free_port()), shard("b", 0.5, 1.0, free_port())]
            write_config(folder / "etc" / "shards.json", shards, self.bootstrap)
            options = ("--config=etc/shards.json", *(options or ["--run-dir=run"]))
        self.output = folder / "up.out"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "up", *options],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until it says that the cluster is ready."""
        until(lambda: "Ctrl-C ends the cluster" in self.text() or self.process.poll() is not None, "up is ready")
        assert self.process.poll() is None, self.text()

    def text(self) -> str:
        """All that it has said."""
        return self.output.read_text()

    def pids(self) -> list[int]:
        """The process ids of its daemons."""
        return [self.pid(name) for name in ("a", "b", "bootstrap")]

    def kill(self, name: str) -> None:
        """Kill one of them, and wait until it is started again."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        until(lambda: self.pid(name) not in (0, before), f"{name} is started again")

    def pid(self, name: str) -> int:
        """The process id of one of them; 0 while it has none."""
        file = self.folder / "run" / f"{name}.pid"
        try:
            return int(file.read_text())
        except (OSError, ValueError):
            return 0
