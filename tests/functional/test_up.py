"""`pyshard up` as users run it: real daemons, real signals, and what is left of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from certificates import Certificates
from functional.cluster import HOST, PATIENCE, shard, until, write_config
from functional.shell import COMMAND, shell_on
from functional.up_run import Up, gone
from ports import free_port

pytestmark = pytest.mark.functional


@pytest.fixture
def up(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Up]:
    """A cluster that `pyshard up` runs, ready."""
    made = Up(tmp_path, environment)
    pids: list[int] = []
    try:
        made.wait_ready()
        pids = made.pids()
        yield made
    finally:
        if made.process.poll() is None:
            made.process.terminate()
        made.process.wait(PATIENCE)
        sys.stdout.write(made.text())
        for pid in [*pids, *made.pids()]:
            if pid and not gone(pid):
                os.kill(pid, signal.SIGKILL)


def test_up_runs_a_cluster(up: Up, environment: Mapping[str, str]) -> None:
    """It says how to use the cluster, and that works."""
    assert f"│ bootstrap  {HOST}:{up.bootstrap} " in up.text()
    assert f"pyshard write --bootstrap {HOST}:{up.bootstrap} KEY DOC" in up.text()
    pyshard = shell_on(f"{HOST}:{up.bootstrap}", environment, up.folder)
    assert pyshard("pyshard write test 'hello world' && pyshard read test") == (0, '60\n"hello world"\n', "")
    assert pyshard("pyshard stat --json | grep -c '\"documents\":1'") == (0, "1\n", "")


def test_up_with_json(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """With --log-format json each line of `up` and of every log is an object: also of a shard that was killed."""
    up = Up(tmp_path, environment, "--run-dir=run", "--log-format=json")
    try:
        until(lambda: "The cluster is ready" in up.text() or up.process.poll() is not None, "up is ready")
        up.kill("a")
        until(lambda: "shard 'a' ended" in up.text(), "up says so")
    finally:
        up.process.terminate()
        assert up.process.wait(PATIENCE) == 0
    logs = [up.output, *(tmp_path / "run" / f"{name}.log" for name in ("a", "b", "bootstrap", "up"))]
    lines = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in logs}
    assert all({"time", "level", "namespace", "message"} <= line.keys() for found in lines.values() for line in found)
    assert all(lines.values())
    starting, ready, ended = (line for line in lines["up.out"] if line["namespace"] == "pyshard.cli.up")
    assert starting["message"].startswith("Starting 2 shards and the bootstrap; logs: ")
    assert (ready["bootstrap"], ready["shards"]) == (f"{HOST}:{up.bootstrap}", 2)
    assert ended["message"].startswith("shard 'a' ended, and is started again")
    assert [line["level"] for line in (starting, ready, ended)] == ["info", "info", "warn"]


def test_up_starts_a_killed_shard_again(up: Up, environment: Mapping[str, str]) -> None:
    """A shard that was killed is back after a moment, and the cluster goes on."""
    pyshard = shell_on(f"{HOST}:{up.bootstrap}", environment, up.folder)
    assert pyshard("pyshard write test1 1")[0] == 0  # on the other shard
    up.kill("a")
    assert "shard 'a' ended, and is started again" in up.text()
    code, written, waiting = pyshard("pyshard --deadline 30 write test 1 && pyshard read test1")
    assert (code, written) == (0, "28\n1\n")
    assert waiting == "" or waiting.startswith("pyshard: shard 'a' at ")  # it may not have been configured again yet


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_ends_with_a_signal(up: Up, number: int) -> None:
    """A signal ends every daemon in order, with exit code 0."""
    pids = up.pids()
    began = time.monotonic()
    up.process.send_signal(number)
    assert up.process.wait(PATIENCE) == 0
    assert time.monotonic() - began < 8
    assert [pid for pid in pids if not gone(pid)] == []
    for name in ("a", "b", "bootstrap"):
        assert "Server Shut Down" in (up.folder / "run" / f"{name}.log").read_text()
    assert up.pids() == [0, 0, 0]  # twistd removes its pid file


def test_up_ends_with_ctrl_c(up: Up) -> None:
    """Ctrl-C signals the whole process group, and somebody impatient does it twice: the end is orderly all the same."""
    pids = up.pids()
    os.killpg(up.process.pid, signal.SIGINT)
    os.killpg(up.process.pid, signal.SIGINT)
    assert up.process.wait(PATIENCE) == 0
    assert [pid for pid in pids if not gone(pid)] == []
    for name in ("a", "b", "bootstrap"):
        log = (up.folder / "run" / f"{name}.log").read_text()
        assert log.count("Received SIGTERM") == 1
        assert "SIGINT" not in log
    assert "Traceback" not in (up.folder / "run" / "up.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent was killed")
def test_daemons_end_with_a_killed_up(up: Up) -> None:
    """When `up` itself is killed, its daemons end."""
    pids = up.pids()
    up.process.kill()
    up.process.wait(PATIENCE)
    until(lambda: all(map(gone, pids)), "all daemons have ended")


@pytest.mark.long
def test_up_keeps_its_run_directory(up: Up, environment: Mapping[str, str]) -> None:
    """A second run in the same directory is refused while the first one goes on, and then takes up its state."""
    refused = Up(up.folder, environment)
    assert refused.process.wait(PATIENCE) == 2
    assert refused.text() == "pyshard: --run-dir: run is in use by another pyshard up\n"
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(PATIENCE) == 0
    cluster = json.loads((up.folder / "run" / "cluster.state").read_text())["cluster"]
    again = Up(up.folder, environment)
    again.wait_ready()
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(PATIENCE) == 0
    assert json.loads((up.folder / "run" / "cluster.state").read_text())["cluster"] == cluster


def test_up_keeps_documents(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """With --data-dir a killed shard, Ctrl-C and the end of `up` lose nothing; the next one needs no config file."""
    up = Up(tmp_path, environment, "--run-dir=run", "--data-dir=my data")
    pyshard = shell_on(f"{HOST}:{up.bootstrap}", environment, tmp_path)
    written = "pyshard index create pages && pyshard write --index pages test a && pyshard write --ttl 600 test1 b"
    try:
        up.wait_ready()
        data = tmp_path / "my data"
        assert f"Documents are kept on disk: pyshard up --data-dir '{data}' has them again. Ctrl-C" in up.text()
        assert pyshard(written) == (0, "50\n50\n", "")
        items = [pyshard(f"pyshard item {one}")[1] for one in ("--index=pages test", "test1")]
        for name in ("a", "b"):
            up.kill(name)
        code, found, waiting = pyshard(
            "pyshard --deadline 30 read --index pages test && pyshard --deadline 30 read test1"
        )
        assert (code, found) == (0, '"a"\n"b"\n')
        assert all(line.startswith("pyshard: shard '") for line in waiting.splitlines())  # they may not be ready yet
    finally:
        os.killpg(up.process.pid, signal.SIGINT)
        assert up.process.wait(PATIENCE) == 0, up.text()
    assert sorted(path.name for path in data.iterdir()) == [
        "a",
        "b",
        "cluster.state",
        "cluster.state.lock",
        "shards.json",
        "up.lock",
    ]
    assert not (tmp_path / "run" / "cluster.state").exists()

    again = Up(tmp_path, environment, "--run-dir=run", "--data-dir=my data", configured=False)
    try:
        again.wait_ready()
        assert f"│ bootstrap  {HOST}:{up.bootstrap} " in again.text()
        for one, before in zip(("--index=pages test", "test1"), map(json.loads, items), strict=True):
            code, out, error = pyshard(f"pyshard item {one}")
            assert (code, error) == (0, "")
            found = json.loads(out)
            assert (found.pop("ttl") is None) is (before.pop("ttl") is None)
            assert found == before
    finally:
        again.process.terminate()
        assert again.process.wait(PATIENCE) == 0, again.text()


def test_up_takes_a_changed_config(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """A shard that the config has anew takes its part, and one that it lacks gives up what it had."""
    up = Up(tmp_path, environment, "--run-dir=run", "--data-dir=data")
    pyshard = shell_on(f"{HOST}:{up.bootstrap}", environment, tmp_path)
    config = tmp_path / "etc" / "shards.json"

    def owned() -> dict[str, list[list[float]]]:
        shards = json.loads(pyshard("pyshard stat --json")[1])["shards"]
        return {shard["name"]: shard["ranges"] for shard in shards}

    def restarted(shards: list[dict[str, object]]) -> Up:
        running.process.terminate()
        assert running.process.wait(PATIENCE) == 0, running.text()
        write_config(config, shards, up.bootstrap)
        again = Up(
            tmp_path, environment, "--config=etc/shards.json", "--run-dir=run", "--data-dir=data", configured=False
        )
        again.wait_ready()
        return again

    running = up
    try:
        up.wait_ready()
        assert pyshard("seq 20 | sed 's/.*/key &|&/' | pyshard load -")[0] == 0
        before = json.loads(config.read_text())["shards"]
        grown = [{**before[0], "end": 0.25}, shard("c", 0.25, 0.5, free_port()), before[1]]
        running = restarted(grown)
        assert "The cluster is brought to its config: 1 moves of ranges are planned" in running.text()
        until(lambda: owned() == {"a": [[0.0, 0.25]], "c": [[0.25, 0.5]], "b": [[0.5, 1.0]]}, "c has its part")
        assert pyshard("pyshard count") == (0, "20\n", "")
        running = restarted([{**before[0], "end": 0.25}, {**before[1], "start": 0.25}])
        until(lambda: owned() == {"a": [[0.0, 0.25]], "b": [[0.25, 1.0]], "c": []}, "c has nothing")
        assert pyshard("pyshard count") == (0, "20\n", "")
        assert pyshard("pyshard jobs --wait")[0] == 0  # a shard leaves when it has removed what it gave up
        running = restarted([{**before[0], "end": 0.25}, {**before[1], "start": 0.25}])
        assert owned() == {"a": [[0.0, 0.25]], "b": [[0.25, 1.0]]}
    finally:
        running.process.terminate()
        assert running.process.wait(PATIENCE) == 0, running.text()


def test_up_with_a_token_file(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Its daemons want tokens, it has one itself, and what it prints works as printed; no secret is shown."""
    secret = "the-secret-of-an-admin"
    (tmp_path / "tokens").touch(0o600)
    (tmp_path / "tokens").write_text(f"admin {secret}\n")
    up = Up(tmp_path, environment, "--run-dir=run", "--token-file=tokens")
    try:
        up.wait_ready()
        (command,) = re.findall(r"pyshard read (.*) KEY", up.text())
        for options, code in {command: 1, f"--bootstrap {HOST}:{up.bootstrap}": 5}.items():
            asked = subprocess.run(
                [*COMMAND, "read", *options.split(), "none"],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
            assert asked.returncode == code, asked.stderr
        lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in [up.process.pid, *up.pids()]]
    finally:
        up.process.terminate()
        assert up.process.wait(PATIENCE) == 0, up.text()
    shown = [*lines, up.text(), *(log.read_text() for log in (tmp_path / "run").glob("*.log"))]
    assert len(shown) == 4 + 1 + 4
    assert [text for text in shown if secret in text] == []


@pytest.mark.long
def test_up_with_tls(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Its daemons speak TLS with one another and with itself, and what it prints works as printed."""
    own = Certificates(tmp_path).daemon
    files = (f"--tls-ca={own.ca}", f"--tls-certificate={own.certificate}", f"--tls-key={own.key}")
    up = Up(tmp_path, environment, "--run-dir=run", *files)
    try:
        up.wait_ready()
        found = dict(re.findall(r"export (PYSHARD_TLS_\w+)=(\S+)", up.text()))
        assert list(found.values()) == [str(own.ca), str(own.certificate), str(own.key)]
        for variables, code in (found, 1), ({}, 3):
            asked = subprocess.run(
                [*COMMAND, "has", f"--bootstrap={HOST}:{up.bootstrap}", "--deadline=3", "none"],
                cwd=tmp_path,
                env={**environment, **variables},
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
            assert asked.returncode == code, asked.stderr
    finally:
        up.process.terminate()
        assert up.process.wait(PATIENCE) == 0, up.text()


def test_up_removes_its_temporary_directory(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Without --run-dir everything is in a temporary folder, of which nothing is left."""
    (tmp_path / "tmp").mkdir()
    up = Up(tmp_path, {**environment, "TMPDIR": str(tmp_path / "tmp")}, "--config=etc/shards.json")
    try:
        up.wait_ready()
        assert len(list((tmp_path / "tmp").glob("pyshard-*/*.log"))) == 4
    finally:
        up.process.terminate()
        up.process.wait(PATIENCE)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc", "tmp", "up.out"]


def test_up_ends_before_it_is_ready(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """A signal right after the start ends it, too."""
    up = Up(tmp_path, environment)
    until(lambda: "Starting" in up.text(), "up has begun")
    up.process.terminate()
    assert up.process.wait(PATIENCE) == 0
    assert all(pid == 0 or gone(pid) for pid in up.pids())


def test_up_shows_why_a_daemon_fails(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """A daemon that can't start is named, with the end of its log; the others are ended, and the exit code is 1."""
    shards = [shard("a", 0.0, 0.5, free_port()), shard("b", 0.5, 1.0, free_port())]
    shards[1]["listen"] = "avian:carrier:80"  # a kind of endpoint that only the daemon finds out not to be there
    write_config(tmp_path / "etc" / "shards.json", shards, free_port())
    ended = subprocess.run(
        [*COMMAND, "up", "--config=etc/shards.json", "--run-dir=run", "--insecure"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )
    assert ended.returncode == 1
    head, *tail = ended.stderr.splitlines()
    assert re.fullmatch(r"pyshard: shard 'b' ended 2 times before the cluster was ready; the end of its log:", head)
    assert any("--listen: found 'avian:carrier:80', expected a Twisted server endpoint" in line for line in tail)
    assert all(line.startswith("    ") for line in tail)
    assert list((tmp_path / "run").glob("*.pid")) == []
