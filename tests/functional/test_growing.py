"""The commands of growth on real daemons: a shard is added while clients write, drained, and removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from functional.cluster import HOST, PATIENCE, Cluster, NewCluster, until
from functional.shell import COMMAND, Shell, shell_on

from pyshard import Pyshard

pytestmark = pytest.mark.functional

DOCUMENTS = {f"key {number}": {"number": number} for number in range(3000)}


#: Applies a config and pauses move 2 at once: that waits for move 1 then, however slow the machine.
_APPLY_AND_PAUSE = """
import sys
from twisted.internet import task
from pyshard.client import connect
from pyshard.client.layout_client import LayoutClient
from pyshard.model import config_file

async def main(reactor):
    client = await connect(reactor, sys.argv[1])
    layout = LayoutClient(client)
    assert await layout.apply(config_file.load(sys.argv[2]), await layout.state()) == [1, 2]
    await layout.change_move(2, "pause")
    await client.close()

task.react(main)
"""


@pytest.fixture
def two(new_cluster: NewCluster, request: pytest.FixtureRequest) -> Cluster:
    """Two shards with documents, and a third one that runs and isn't in the cluster."""
    made = new_cluster(3, durable=request.param == "durable")
    third = made.config.pop()
    made.config[0]["end"] = made.config[1]["start"] = 0.5
    made.config[1]["end"] = 1.0
    made.write_config()
    assert third["name"] == "c"
    for daemon in made.daemons:
        daemon.start()
    made.wait_states("ready", "ready")
    made.shards[2].wait_listening()
    with Pyshard(made.server) as app:
        app.write_many(DOCUMENTS)
    return made


@pytest.fixture
def pyshard(two: Cluster) -> Shell:
    """Lines of shell on it."""
    return shell_on(two.server, two.environment, two.folder)


@pytest.mark.parametrize("two", ["durable"], indirect=True)
def test_a_shard_comes_and_goes(two: Cluster, pyshard: Shell) -> None:
    """It is proposed, applied, waited for, drained and removed; no write fails meanwhile, and nothing is lost."""
    written, stopped = [0], threading.Event()

    def write() -> None:
        with Pyshard(two.server) as app:
            while not stopped.is_set():
                app.write(f"key {written[0] % len(DOCUMENTS)}", {"number": written[0] % len(DOCUMENTS)})
                written[0] += 1
        written.append(-1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        add = f"--add c={HOST}:{two.shards[2].port}"
        code, out, error = pyshard(f"pyshard plan --shards 3 {add} --output three.json")
        assert (code, error) == (0, "")
        assert "33.3 % of the keyspace" in out
        code, out, error = pyshard("pyshard apply --yes three.json && pyshard jobs --wait")
        assert (code, error) == (0, "")
        assert out.startswith("Planned moves 1, 2;")
        assert shares(pyshard) == {"a": 0.333333, "b": 0.333333, "c": 0.333333}
        assert pyshard("pyshard drain c --wait")[0] == 0
        assert shares(pyshard) == {"a": 0.5, "b": 0.5, "c": 0}
        code, out, error = pyshard("pyshard apply --yes --json etc/shards.json")
        assert (code, json.loads(out)["removed"], error) == (0, ["c"], "")
    finally:
        stopped.set()
        writer.join(PATIENCE)
    assert written.pop() == -1, "a write failed"
    assert written[0] > 10
    assert sorted(shares(pyshard)) == ["a", "b"]
    with Pyshard(two.server) as app:
        assert dict(app.items()) == DOCUMENTS


@pytest.mark.long
@pytest.mark.parametrize("two", ["durable"], indirect=True)
def test_pause_and_cancel_over_a_restart(two: Cluster, pyshard: Shell) -> None:
    """A paused move stays paused when the bootstrap is restarted; cancelled, it leaves everything as before."""
    code, _, error = pyshard(f"pyshard plan --add c={HOST}:{two.shards[2].port} --output three.json")
    assert (code, error) == (0, "")
    done = two.script(_APPLY_AND_PAUSE, two.server, "three.json")
    assert (done.returncode, done.stderr) == (0, "")
    two.bootstrap.end(signal.SIGKILL)
    two.bootstrap.start()
    until(lambda: " paused " in pyshard("pyshard jobs")[1], "the move is paused")
    command = [*COMMAND, "jobs", "--wait", "--json"]
    environment = {**two.environment, "PYSHARD_BOOTSTRAP": two.server}
    waiting = subprocess.Popen(
        command, cwd=two.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(3)
    assert pyshard("pyshard jobs cancel 2") == (0, "", "")
    out, error = waiting.communicate(timeout=PATIENCE)
    assert (waiting.returncode, error) == (1, "pyshard: move 2: cancelled; see 'pyshard jobs'\n")
    assert [move["over"] for move in json.loads(out)["moves"]][-1]
    code, _, error = pyshard("pyshard jobs pause 2")
    assert code == 5
    assert "expected the number of a move that is planned or under way" in error
    assert shares(pyshard)["b"] == 0.5
    assert pyshard("pyshard count")[1] == f"{len(DOCUMENTS)}\n"


@pytest.mark.long
@pytest.mark.parametrize("two", ["memory"], indirect=True)
def test_on_a_terminal(two: Cluster, pyshard: Shell) -> None:
    """`apply` shows the plan and asks; Ctrl-C there ends it, and nothing has changed. `jobs --follow` draws."""
    assert pyshard(f"pyshard plan --add c={HOST}:{two.shards[2].port} --output three.json")[0] == 0
    code, shown = on_terminal(two, ["apply", "three.json"], b"\x03")
    assert code == 130
    assert shown.index("All together: 33.3 %") < shown.index("Go on? [y/N]:")
    assert sorted(shares(pyshard)) == ["a", "b"]
    code, shown = on_terminal(two, ["apply", "three.json"], b"y\n")
    assert code == 0
    assert "Planned moves 1, 2; watch with 'pyshard jobs --follow'." in shown
    code, shown = on_terminal(two, ["jobs", "--follow"], b"")
    assert code == 0
    assert "━" in shown
    assert "done" in shown
    assert sorted(shares(pyshard)) == ["a", "b", "c"]


#: Runs a command on a terminal of its own, whose keyboard is standard input and whose screen is standard output.
_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def on_terminal(cluster: Cluster, arguments: list[str], typed: bytes) -> tuple[int, str]:
    """Run the command on a terminal, and type something when it asks; exit code, and all that it showed."""
    environment = {**cluster.environment, "PYSHARD_BOOTSTRAP": cluster.server, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-c", _TERMINAL, *COMMAND, *arguments]
    shown = b""
    with subprocess.Popen(
        command, cwd=cluster.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while part := os.read(process.stdout.fileno(), 4096):
            shown += part
            if typed and b"[y/N]:" in shown:
                os.write(process.stdin.fileno(), typed)
                typed = b""
        return process.wait(PATIENCE), shown.decode()


def shares(pyshard: Shell) -> dict[str, float]:
    """The part of the keyspace that each shard has."""
    found = json.loads(pyshard("pyshard stat --json")[1])
    return {one["name"]: round(sum(end - start for start, end in one["ranges"]), 6) for one in found["shards"]}
