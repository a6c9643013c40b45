"""The `pyshard` command: as it is called, and in lines of shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from functional.cluster import PATIENCE

COMMAND = [sys.executable, "-m", "pyshard.cli"]

#: Runs a line of shell, in which `pyshard` is the command; exit code, standard output and error.
Shell: TypeAlias = Callable[[str], tuple[int, str, str]]


def shell_on(server: str, environment: Mapping[str, str], folder: Path) -> Shell:
    """Runs lines of shell, with `pyshard` in PATH and the cluster of this bootstrap."""
    script = folder / "bin" / "pyshard"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pyshard.cli "$@"\n')
    script.chmod(0o755)
    path = os.pathsep.join([str(script.parent), environment["PATH"]])
    settings = {**environment, "PATH": path, "PYSHARD_BOOTSTRAP": server, "LC_ALL": "C.UTF-8"}

    def line(text: str) -> tuple[int, str, str]:
        ended = subprocess.run(
            ["bash", "-o", "pipefail", "-c", text],
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE * 2,
            check=False,
        )
        return ended.returncode, ended.stdout, ended.stderr

    return line
