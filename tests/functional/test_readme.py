"""What a newcomer does first: the commands and blocks of README.md and the pages that it leads to, as printed.

They run in a copy of the checkout, one after the other: README.md, docs/python.md, docs/asyncio.md, docs/backup.md,
docs/running.md, and the program in docs/protocol.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import CHECKOUT, tagged

pytestmark = pytest.mark.functional

_PORTS = (5050, 5051, 9192)
_READY = "from pyshard import Pyshard; print({one['state'] for one in Pyshard().readiness()})"
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".tox", ".hypothesis", ".*_cache", "__pycache__", "*.egg-info", "*.state*", "data", "monday"
)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(holds: object, what: str, seconds: float = 30) -> None:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not come within {seconds:g} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of the checkout, with nobody on the ports that the README prints."""
    busy = [port for port in _PORTS if _listening(port)]
    assert not busy, f"the README's commands need the ports {busy}; end what listens there"
    copy = tmp_path_factory.mktemp("newcomer") / "pyshard"
    shutil.copytree(CHECKOUT, copy, ignore=_NOT_COPIED)
    return copy


@pytest.fixture
def daemons_end(clone: Path) -> Iterator[None]:
    """Whatever happens in the test, no daemon of the clone's pid files outlives it."""
    yield
    for file in clone.glob("*.pid"):
        os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.fixture(scope="module")
def environment(clone: Path) -> dict[str, str]:
    """What the newcomer's shell has: python3 is this Python, and .venv/bin of the clone is on the path."""
    found = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "PYSHARD"))
    }
    found["PATH"] = os.pathsep.join([str(clone / ".venv" / "bin"), str(Path(sys.executable).parent), found["PATH"]])
    return found


@pytest.fixture(scope="module")
def up(clone: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The first command of the README, running and ready."""
    (command,) = tagged("README.md", "run: up")
    output = clone / "up.log"
    with output.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        _wait(lambda: process.poll() is not None or "ready" in output.read_text(), "a ready cluster", 240)
        assert process.poll() is None, output.read_text()
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def _sh(page: str, tag: str, clone: Path, environment: dict[str, str]) -> list[str]:
    """The lines that the page's block of shell with this tag prints."""
    (text,) = tagged(page, tag)
    return _run(text, clone, environment, "bash", "-e").splitlines()


def _run(text: str, clone: Path, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [*command], input=text, cwd=clone, env=environment, text=True, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), (command, done)
    return done.stdout


@pytest.mark.usefixtures("up")
def test_shell(clone: Path, environment: dict[str, str]) -> None:
    """The commands for the other terminal work, and read gives what write wrote."""
    assert _sh("README.md", "run: sh", clone, environment) == ["60", '{"text": "hello world"}']


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_blocking_session(page: str, clone: Path, environment: dict[str, str]) -> None:
    """The session of the README, and those of docs/python.md, print exactly what stands there."""
    (clone / "session.txt").write_text("\n".join(tagged(page, "run: pycon")))
    assert _run("", clone, environment, "python", "-m", "doctest", "session.txt") == ""


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("page", ["docs/python.md", "docs/asyncio.md"])
def test_programs(page: str, clone: Path, environment: dict[str, str]) -> None:
    """The programs with Deferreds, and on asyncio, print what their pages say."""
    programs, outputs = tagged(page, "run: python"), tagged(page, "run: output")
    assert [_run(program, clone, environment, "python", "-") for program in programs] == outputs


@pytest.mark.usefixtures("up")
def test_backup(clone: Path, environment: dict[str, str]) -> None:
    """The backup is made, of what the sessions above have left."""
    (printed,) = _sh("docs/backup.md", "run: backup", clone, environment)
    assert re.fullmatch(r"1\d\d\d documents backed up", printed)
    assert (clone / "monday" / "manifest.json").exists()


def test_interrupt_ends_everything(up: subprocess.Popen[str], clone: Path) -> None:
    """Ctrl-C ends `pyshard up` and all its daemons, with exit code 0."""
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait(20) == 0, (clone / "up.log").read_text()
    assert [port for port in _PORTS if _listening(port)] == []


@pytest.mark.usefixtures("daemons_end")
def test_daemons_and_stock_amp(up: subprocess.Popen[str], clone: Path, environment: dict[str, str]) -> None:
    """The twistd way works as printed, in any order, and docs/protocol.md's stock AMP program talks to a shard.

    The shards are durable: the backup that is restored at first is there after the restart.
    """
    assert up.poll() is not None, "it runs after the test that ends `pyshard up`"
    (start,), (end,) = tagged("README.md", "run: daemons"), tagged("docs/running.md", "run: end")
    read = "pyshard read test && pyshard stat --json"
    restored = ""
    for again, lines in enumerate((start.splitlines(), start.splitlines()[::-1])):
        _run("\n".join(lines), clone, environment, "bash", "-e")
        try:
            _wait(lambda: all(map(_listening, _PORTS)), "three daemons")
            _wait(lambda: _run(_READY, clone, environment, "python", "-") == "{'ready'}\n", "a ready cluster")
            if not again:
                (restored,) = _sh("docs/backup.md", "run: restore", clone, environment)
                assert re.fullmatch(r"1\d\d\d documents restored", restored)
            text, stat = _run(read, clone, environment, "bash", "-e").splitlines()
            assert text == '"hello world"'
            assert sum(shard["documents"] for shard in json.loads(stat)["shards"]) == int(restored.split()[0])
            (program,) = tagged("docs/protocol.md", "run: stock")
            assert _run(program, clone, environment, "python", "-") == "[[True], {}]\nhello world\n"
        finally:
            _run(end, clone, environment, "bash", "-e")
            _wait(
                lambda: not any((clone / f"{name}.pid").exists() for name in ("shard0", "shard1", "bootstrap")),
                "the end",
            )
