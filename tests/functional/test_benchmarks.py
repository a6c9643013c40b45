"""Every workload of benchmarks/ runs, against whichever peers are installed. No figure is looked at."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

#: What a comparison needs, by the name of its peer.
_PROGRAMS = {"redis": "redis-server", "redis-cluster": "redis-server", "memcached": "memcached"}

_FIGURES = re.compile(r"\S+ +\d+\.\d\d \(\d+\.\d\d – \d+\.\d\d\) .*per second.*")


def run(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """What the command prints."""
    command = [sys.executable, str(_BENCHMARKS), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_workload(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """A tiny run does every comparison, or says that its peer isn't installed."""
    names = run(tmp_path, environment, "--list").splitlines()
    assert len(set(names)) == len(names) > 20
    lines = run(tmp_path, environment, "--quick").splitlines()
    assert [line.split()[0] for line in lines] == names
    for line in lines:
        peer = line.split()[0].split("/")[1]
        if peer in _PROGRAMS and shutil.which(_PROGRAMS[peer]) is None:
            assert f"skipped: there is no {_PROGRAMS[peer]}" in line
        elif not (peer == "original" and "skipped: pip can't install" in line):
            assert _FIGURES.fullmatch(line), line
