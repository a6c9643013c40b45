"""`pyshard replica` on a cluster in memory: what it prints, and what it has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from in_process_command import Commands

from pyshard.cli import replica_subcommands
from pyshard.testing import MemoryCluster

FIRST, SECOND, THIRD = "127.0.0.1:5050", "127.0.0.1:5150", "127.0.0.1:5250"


@pytest.fixture
def pyshard3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """The command on a shard with three members."""
    with MemoryCluster(1, replicas=3, lease=1.0) as cluster:
        cluster.advance(5)
        yield Commands(cluster, monkeypatch)


def primary(pyshard: Commands) -> str:
    """The address of who leads."""
    return pyshard.cluster.state.map.shards[0].address


def test_none(pyshard: Commands) -> None:
    """Shards without replicas: it says so, and names them where one is asked for."""
    assert pyshard("replica", "list").out == "No shard has replicas.\n"
    assert json.loads(pyshard("replica", "list", "--json").out) == {"groups": []}
    refused = pyshard("replica", "switch", SECOND)
    assert refused.code != 0
    assert refused.error == f"pyshard: replica: found '{SECOND}', expected one of a shard with replicas\n"


def test_list(pyshard3: Commands) -> None:
    """A row for each; one that is away is said below, and by the exit code."""
    ended = pyshard3("replica", "list")
    assert (ended.code, ended.error) == (0, "")
    head, *rows = [line.split() for line in ended.out.splitlines()]
    assert head == ["shard", "replica", "role", "ballot", "group", "behind", "state"]
    assert [(row[-6], row[-5], row[-1]) for row in rows] == [
        (FIRST, "primary", "up"),
        (SECOND, "member", "up"),
        (THIRD, "member", "up"),
    ]
    pyshard3.cluster.kill_shard("shard0.3")
    pyshard3.cluster.advance(5)
    ended = pyshard3("replica", "list")
    assert ended.code == 1
    assert ended.out.splitlines()[-1] == "shard0: 2 of 3 replicas have all documents"
    assert "down, last heard" in ended.out.splitlines()[-2]
    pyshard3.cluster.kill_shard("shard0.2")
    pyshard3.cluster.advance(5)
    last = pyshard3("replica", "list").out.splitlines()[-1]
    assert last == "shard0: takes no changes: 1 of 3 replicas have all documents, and min_replicas is 2"
    [group] = json.loads(pyshard3("replica", "list", "--json").out)["groups"]
    assert [replica["role"] for replica in group["replicas"]] == ["primary", "learner", "learner"]


def test_a_member_that_is_silent(pyshard3: Commands) -> None:
    """One that doesn't answer is told by the exit code, also while it is still a member: a restart mustn't go on."""
    pyshard3.cluster.kill_shard("shard0")
    while "down, last heard" not in (ended := pyshard3("replica", "list")).out:
        pyshard3.cluster.advance(0.05)
    group = pyshard3.cluster.state.map.shards[0].group
    assert group is not None
    assert len(group.members) == 3
    assert ended.code == 1


def test_switch_and_remove(pyshard3: Commands) -> None:
    """Another one leads; then the first one may go."""
    assert pyshard3("replica", "remove", FIRST).error.startswith(
        f"pyshard: replica: found {FIRST}, which leads; switch"
    )
    assert pyshard3("replica", "switch", SECOND).out == f"{SECOND} leads shard shard0.\n"
    assert primary(pyshard3) == SECOND
    assert pyshard3("replica", "remove", FIRST).out.startswith(
        f"{FIRST} is no replica of shard shard0 any more; stop it"
    )
    refused = pyshard3("replica", "remove", THIRD)
    assert "--force" in refused.error
    assert refused.code != 0
    assert pyshard3("replica", "remove", "--force", THIRD).code == 0
    assert pyshard3.cluster.state.map.shards[0].addresses == [SECOND]


def test_promote(pyshard3: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what may be lost, and asks; nothing is done where nobody can answer."""
    cluster = pyshard3.cluster
    for name in ("shard0.3", "shard0.2"):
        cluster.kill_shard(name)
        cluster.advance(5)
    cluster.kill_shard("shard0")
    cluster.start_shard("shard0.3")
    cluster.advance(3)
    assert pyshard3("replica", "promote", THIRD).code == 2, "--accept-loss has to be given"
    asked = ("replica", "promote", "--accept-loss", THIRD)
    assert "no terminal to ask" in pyshard3(*asked).error
    monkeypatch.setattr(replica_subcommands, "can_answer", lambda: True)
    refused = pyshard3(*asked, text="n\n")
    assert (refused.code, primary(pyshard3)) == (1, FIRST)
    assert f"Replica {THIRD} of shard shard0 is to lead" in refused.out
    assert f"The primary {FIRST} was last heard" in refused.out
    assert "min_replicas is 2" in refused.out
    assert pyshard3(*asked, text="y\n").out.endswith(f"{THIRD} leads shard shard0.\n")
    assert primary(pyshard3) == THIRD


def test_promote_while_the_primary_answers(pyshard3: Commands) -> None:
    """Nothing is lost that needn't be."""
    refused = pyshard3("replica", "promote", "--accept-loss", "--yes", SECOND)
    assert f"the primary {FIRST} answers" in refused.error
    assert primary(pyshard3) == FIRST


def test_stat(pyshard3: Commands) -> None:
    """`stat` shows replicas beneath their shard, how old what they have is, and says when one is missing."""
    rows = [line.split() for line in pyshard3("stat").out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["shard0", FIRST], ["replica", SECOND], ["replica", THIRD]]
    assert rows[1][2] == "member,"
    assert rows[1][4:] == ["s", "old"]
    age, most = map(float, rows[1][3].split("/"))
    assert 0 <= age <= most == 2.0
    pyshard3.cluster.kill_shard("shard0.3")
    pyshard3.cluster.advance(5)
    lines = pyshard3("stat").out.splitlines()
    assert lines[-1] == "shard0: 2 of 3 replicas have all documents"
    assert lines[-2].split()[:3] == ["replica", THIRD, "learner,"]
    [shard] = json.loads(pyshard3("stat", "--json").out)["shards"]
    assert shard["replicas"][2] == {"address": THIRD, "role": "learner"}
    assert (shard["replica"]["members"], shard["replica"]["replicas"]) == (2, 3)
