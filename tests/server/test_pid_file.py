"""A pid file that a killed daemon left: which are removed, and which are not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from functional.cluster import until

from pyshard.server.pid_file import ProcessSeen, remove_stale, stale

OWN, OTHER = 7, 8


@pytest.mark.parametrize(
    ("pid", "process", "why"),
    [
        (OWN, ProcessSeen("R", ("python3.11",)), "names this very process"),
        (OWN, None, "names this very process"),
        (OTHER, None, None),  # no Linux, or no such process: twistd sees to that
        (OTHER, ProcessSeen("S", ()), None),
        (OTHER, ProcessSeen("S", ("python3.11",)), None),
        (OTHER, ProcessSeen("S", ("pypy3",)), None),
        (OTHER, ProcessSeen("S", ("daemon", "twistd")), None),
        (OTHER, ProcessSeen("Z", ()), "names process 8, which has ended"),
        (OTHER, ProcessSeen("Z", ("python3.11",)), "names process 8, which has ended"),
        (OTHER, ProcessSeen("S", ("bash",)), "names process 8, which is no twistd"),
        (OTHER, ProcessSeen("S", ("sh", "-c")), "names process 8, which is no twistd"),
    ],
)
def test_stale(pid: int, process: ProcessSeen | None, why: str | None) -> None:
    """A file is stale only when it is sure that no twistd can run by it."""
    assert stale(pid, OWN, process) == why


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the pid file is."""
    return tmp_path / "twistd.pid"


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[int]:
    """The id of a child that runs a command."""
    child = subprocess.Popen(request.param)
    yield child.pid
    child.kill()
    child.wait()


def test_this_very_process(path: Path, log_lines: list[str]) -> None:
    """A file that names this process is removed, with a line: nobody else can be meant."""
    path.write_text(f"{os.getpid()}\n")
    remove_stale(path)
    assert not path.exists()
    assert log_lines == [f"info: pid file {path} names this very process: removed, since its daemon was killed"]


@pytest.mark.parametrize("other", [["sleep", "60"]], indirect=True)
def test_another_program(path: Path, other: int) -> None:
    """A file that names a living process of another program is removed."""
    until(lambda: "python" not in str(Path(f"/proc/{other}/exe").readlink()), "it sleeps")
    path.write_text(str(other))
    remove_stale(path)
    assert not path.exists()


@pytest.mark.parametrize("other", [[sys.executable, "-c", "import time; time.sleep(60)"]], indirect=True)
def test_a_python(path: Path, other: int) -> None:
    """A file that names a living Python stays: it may be a twistd."""
    path.write_text(str(other))
    remove_stale(path)
    assert path.read_text() == str(other)


def test_a_child_that_nobody_waited_for(path: Path) -> None:
    """A process that has ended, but for which nobody has waited, is no twistd any more. Such are in containers."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text(), "it has ended")
    path.write_text(str(child.pid))
    remove_stale(path)
    assert not path.exists()
    child.wait()


@pytest.mark.parametrize("text", ["", "nonsense", "-", "999999999999999999999"])
def test_what_twistd_complains_of(path: Path, text: str, log_lines: list[str]) -> None:
    """Anything else in the file is left to twistd."""
    path.write_text(text)
    remove_stale(path)
    assert path.read_text() == text
    assert log_lines == []


def test_no_file(path: Path, log_lines: list[str]) -> None:
    """Where there is none, nothing happens."""
    remove_stale(path)
    remove_stale(None)
    assert log_lines == []
