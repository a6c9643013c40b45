"""The `pyshard` command as users run it: real clusters, real pipes, real signals; and what docs/cli.md shows."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from blocks import tagged
from functional.cluster import HOST, PATIENCE, Cluster, until
from functional.shell import COMMAND, Shell, shell_on
from ports import free_port

pytestmark = pytest.mark.functional


@pytest.fixture
def shell(shared: Cluster, environment: Mapping[str, str], tmp_path: Path) -> Shell:
    """Lines of shell on a cluster."""
    return shell_on(shared.server, environment, tmp_path)


def test_documentation(new_cluster: Callable[[], Cluster], environment: Mapping[str, str], tmp_path: Path) -> None:
    """The sessions of docs/cli.md, typed one after the other, print what stands there; those that restore come last."""
    for tag in ("run: cli", "run: restore"):
        cluster = new_cluster()
        cluster.start()
        pyshard = shell_on(cluster.server, environment, tmp_path)
        sessions = tagged("docs/cli.md", tag)
        assert sessions
        for session in sessions:
            for typed, printed in re.findall(r"^\$ (.*\n)((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
                _, out, error = pyshard(typed)
                assert re.fullmatch(re.escape(printed).replace("…", r"[\d.]+"), out + error), (typed, out + error)


@pytest.mark.long
def test_unreachable(shell: Shell) -> None:
    """No bootstrap: a line soon, a line at the end, and an exit code that isn't that of a missing key."""
    server = f"{HOST}:{free_port()}"
    refused = f"pyshard: the bootstrap at {server}: connection refused; trying for 2 s\n"
    cure = "is it running, at this address? 'twistd pyshard-bootstrap --config FILE' starts a bootstrap"
    end = f"pyshard: the bootstrap at {server} gave no answer within 2 s: connection refused; {cure}\n"
    for command in ("read test", "backup folder", "load /dev/null", "stat"):
        assert shell(f"pyshard {command} --bootstrap {server} --deadline 2") == (3, "", refused + end)


def test_unreachable_is_said_soon(environment: Mapping[str, str], tmp_path: Path) -> None:
    """Nobody waits for the deadline to learn of a wrong address; the command goes on trying."""
    command = [*COMMAND, "--bootstrap", f"{HOST}:{free_port()}", "--deadline", "3600", "read", "test"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().endswith(b": connection refused; trying for 3600 s\n")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[1] == b"pyshard: interrupted\n"


@pytest.mark.long
def test_stat_with_a_shard_down(cluster: Cluster, environment: Mapping[str, str], tmp_path: Path) -> None:
    """A shard that is down is listed with its error, and the exit code is 1."""
    cluster.shards[1].kill()
    pyshard = shell_on(cluster.server, environment, tmp_path)
    code, out, error = pyshard("pyshard stat --json --deadline 1")
    assert code == 1
    assert error.startswith("pyshard: shard ")
    assert error.count("\n") == 1
    up, down = json.loads(out)["shards"]
    assert up["documents"] == 0
    assert "error" in down
    code, out, _ = pyshard("pyshard stat --deadline 1")
    assert code == 1
    assert "down" in out


@pytest.mark.long
def test_airports(shell: Shell, tmp_path: Path) -> None:
    """28,000 airports go in and come out the same, by file and by pipe."""
    airports = pytest.importorskip("airportsdata").load("ICAO")
    lines = [f"{key}|{json.dumps(airport, ensure_ascii=False)}" for key, airport in airports.items()]
    (tmp_path / "airports.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    count = f"{len(lines)} documents written\n"
    assert shell("pyshard load --index airports --create airports.txt") == (0, count, "")
    assert shell("pyshard cat --index airports > out.txt") == (0, "", "")
    assert sorted((tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()) == sorted(lines)
    piped = "pyshard cat --index airports --jsonl | pyshard load --index copies --create --jsonl -"
    assert shell(piped) == (0, count, "")
    assert shell("pyshard keys --index copies | wc -l") == (0, f"{len(lines)}\n", "")


def test_quiet_when_nobody_reads(shell: Shell) -> None:
    """`head` that has enough ends the command, which says nothing about it."""
    assert shell("seq 100000 | sed 's/$/|x/' | pyshard load --index many --create -")[0] == 0
    for verb in ("keys", "cat"):
        code, out, error = shell(f"pyshard {verb} --index many | head -1")
        assert (code, out.count("\n"), error) == (141, 1, "")


def test_slow_pipe(shell: Shell) -> None:
    """Lines are stored as they come, and waiting for the next one costs no deadline."""
    code, out, error = shell("(echo '1|a'; sleep 2; echo '2|b') | pyshard load --index slow --create --deadline 1 -")
    assert (code, out, error) == (0, "2 documents written\n", "")


def test_closed_output(shell: Shell) -> None:
    """An output that can't be written is one line, and exit code 6."""
    assert shell("pyshard has test >&-") == (6, "", "pyshard: standard output: Bad file descriptor\n")


@pytest.mark.long
def test_closed_streams(shell: Shell) -> None:
    """A stream that the command was started without, or that is full, is one line, and changes no exit code."""
    closed = "Invalid value for '{}': standard input is closed; see 'pyshard {} --help'\n"
    assert shell("pyshard load - <&-") == (2, "", f"pyshard: {closed.format('FILE', 'load')}")
    assert shell("pyshard write closed - <&-") == (2, "", f"pyshard: {closed.format('DOC', 'write')}")
    assert shell("pyshard write closed --file - <&-") == (2, "", f"pyshard: {closed.format('--file', 'write')}")
    for nowhere in ("2>&-", "2>/dev/full", "<&- 2>&-"):
        assert shell(f"pyshard read closed {nowhere}") == (1, "", "")
        assert shell(f"pyshard write full 1 {nowhere}") == (0, "28\n", "")
        assert shell(f"echo '1|a' | pyshard load - {nowhere.replace('<&- ', '')}") == (0, "1 document written\n", "")
        assert shell(f"pyshard read full --bootstrap {HOST}:{free_port()} --deadline 0.2 {nowhere}") == (3, "", "")
    assert shell("pyshard read full >/dev/full") == (6, "", "pyshard: input or output: No space left on device\n")
    assert shell("pyshard read full <&- >&- 2>&-") == (6, "", "")
    assert shell("pyshard remove full") == (0, "28\n", "")


def test_documents_that_are_no_arguments(shell: Shell) -> None:
    """A document that is too long for an argument comes by a pipe or from a file."""
    assert shell("head -c 300000 /dev/zero | tr '\\0' x | pyshard write big -") == (0, "300049\n", "")
    assert shell("pyshard read big > big.json; pyshard write big --file big.json") == (0, "300049\n", "")
    assert shell("pyshard read big | cmp - big.json") == (0, "", "")


def test_python_m(shell: Shell) -> None:
    """`python -m pyshard` is the command."""
    assert shell(f"{sys.executable} -m pyshard --help") == shell("pyshard --help")
    assert shell(f"{sys.executable} -m pyshard has none") == (1, "false\n", "")


def test_interrupt(shared: Cluster, environment: Mapping[str, str], tmp_path: Path) -> None:
    """Ctrl-C ends a command at once, with exit code 130; `load` says how far it came."""
    command = [*COMMAND, "--bootstrap", shared.server, "load", "--index", "interrupted", "--create", "-"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(b"1|a\n2|b\n")
    process.stdin.flush()
    pyshard = shell_on(shared.server, environment, tmp_path)
    until(lambda: pyshard("pyshard has --index interrupted 2")[0] == 0, "two lines are stored")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (out, error) == (b"", b"pyshard: interrupted; 2 documents written, and maybe some more\n")


def test_interrupted_reactor(environment: Mapping[str, str], tmp_path: Path) -> None:
    """Ctrl-C cancels what a reactor does, and waits until that has cleaned up; a backup removes its files so."""
    program = """
from pathlib import Path
from twisted.internet.defer import Deferred
from pyshard.cli.deferred_call import run

async def work(reactor):
    path = Path("half-written")
    path.touch()
    print("begun", flush=True)
    try:
        await Deferred()
    except BaseException:
        path.unlink()
        raise

try:
    run(work)
except KeyboardInterrupt:
    print("interrupted")
"""
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert [path.name for path in tmp_path.iterdir()] == ["half-written"]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[0] == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_shell(shell: Shell) -> None:
    """Lines go over one connection; what needs a reactor, and a cluster that is checked, work in the middle."""
    code, out, error = shell(
        "printf '%s\\n' 'write shell works' jobs 'read shell' 'doctor --json' 'remove shell' | pyshard shell --stop"
    )
    lines = out.splitlines()
    assert (code, error, lines[:3], lines[4:]) == (0, "", ["54", "No moves.", '"works"'], ["54"])
    assert json.loads(lines[3])["verdict"] in ("PASS", "WARN")  # the machine of the tests may be slow or full
