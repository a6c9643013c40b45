"""`move`, `drain` and `split` on a cluster in memory."""

from __future__ import annotations

import json

import attrs
import pytest
from cli.growing import grown, ranges, state_of
from deferreds import change_state
from in_process_command import Commands

from pyshard.bootstrap.change_turns import Asker
from pyshard.bootstrap.config_application import ConfigApplication
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import union


@pytest.fixture
def pyshard3(pyshard: Commands) -> Commands:
    """The command on a cluster with a third shard that has no ranges."""
    return grown(pyshard)


def test_move(pyshard3: Commands) -> None:
    """A range that two shards have is moved from each; moved again, there is nothing to do."""
    ended = pyshard3("move", "0.4:0.6", "--to", "third", "--wait")
    assert (ended.code, ended.error) == (0, "")
    assert ended.out == "Planned moves 1, 2.\nDone.\n"
    assert ranges(pyshard3) == {"shard0": [0, 0.4], "third": [0.4, 0.6], "shard1": [0.6, 1]}
    again = pyshard3("move", "0.4:0.6", "--to", "third")
    assert (again.code, again.error) == (0, "")
    assert again.out.startswith("Nothing to do")


def test_move_as_json(pyshard3: Commands) -> None:
    """One line: what was planned, and the numbers of the moves."""
    ended = pyshard3("move", "0.25:0.5", "--to", "third", "--json")
    assert (ended.code, ended.out.count("\n")) == (0, 1)
    found = json.loads(ended.out)
    assert (found["moves"], found["part"], found["least"]) == ([1], 0.25, 0.25)
    [transfer] = found["transfers"]
    assert (transfer["source"], transfer["target"], transfer["ranges"]) == ("shard0", "third", [[0.25, 0.5]])
    assert transfer["documents"] > 0


def test_drain_and_split(pyshard3: Commands) -> None:
    """A shard is split in halves by its documents; drained again, its part goes to those that were named."""
    assert pyshard3("split", "shard0", "--to", "third", "--wait").code == 0
    documents = {shard["name"]: shard["documents"] for shard in json.loads(pyshard3("stat", "--json").out)["shards"]}
    assert abs(documents["shard0"] - documents["third"]) < 20
    ended = pyshard3("drain", "third", "--to", "shard1", "--wait")
    assert (ended.code, ended.error) == (0, "")
    assert ranges(pyshard3)["third"] == []
    assert pyshard3("count").out == "300\n"


def test_split_at(pyshard3: Commands) -> None:
    """What lies behind a hash goes."""
    assert pyshard3("split", "shard1", "--to", "third", "--at", "0.9", "--wait").code == 0
    assert ranges(pyshard3) == {"shard0": [0, 0.5], "shard1": [0.5, 0.9], "third": [0.9, 1]}


def test_drain_to_all_others(pyshard3: Commands) -> None:
    """Without --to each other shard gets the same part."""
    assert pyshard3("drain", "shard0", "--wait").code == 0
    assert ranges(pyshard3) == {"third": [0, 0.25], "shard1": [0.25, 1], "shard0": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["move", "0.5:0.2", "--to", "third"], "found '0.5:0.2', expected START:END"),
        (["move", "nan:1", "--to", "third"], "found 'nan:1', expected START:END"),
        (["move", "0.1", "--to", "third"], "found '0.1', expected START:END"),
        (["move", "0:1"], "Missing option '--to'"),
        (["move", "0:1", "--to", "other"], "found shard 'other', expected one of the cluster: shard0, shard1, third"),
        (["drain", "other"], "found shard 'other'"),
        (["drain", "third", "--to", "third"], "can't be drained to itself"),
        (["split", "third", "--to", "third"], "can't be split to itself"),
        (["split", "third", "--to", "shard0"], "has no range that could be split"),
        (["split", "shard0", "--to", "third", "--at", "0.7"], "has nothing behind that hash"),
        (["split", "shard0", "--to", "third", "--at", "2"], "found '2', expected a hash, a number from 0 to 1"),
    ],
)
def test_what_cannot_be(pyshard3: Commands, arguments: list[str], message: str) -> None:
    """It is refused in one line, and nothing moves."""
    ended = pyshard3(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.error
    assert ended.error.count("\n") == 1
    assert ranges(pyshard3)["third"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["move", "0:0.1", "--to", "third"],
        ["split", "shard0", "--to", "third"],
        ["split", "third", "--to", "shard0"],
        ["drain", "shard0", "--to", "third"],
        ["drain", "third"],
    ],
)
def test_a_shard_that_leaves_meanwhile(
    pyshard3: Commands, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """It was there when the command looked, and is none of the map when it is planned: one line says so."""
    if arguments[1] == "third":
        assert pyshard3("move", "0:0.1", "--to", "third", "--wait").code == 0
    plain, tries = ConfigApplication.apply, list[tuple[int, int]]()

    async def apply(self: ConfigApplication, text: bytes, order: tuple[int, int], asker: Asker) -> list[int]:
        if not tries:
            tries.append(order)
            state, bootstrap = state_of(pyshard3), pyshard3.cluster.bootstrap
            owned = {shard.name: shard.ranges for shard in state.map.shards}
            left = [shard for shard in state.map.shards if shard.name != "third"]
            left[0] = attrs.evolve(left[0], ranges=union((*left[0].ranges, *owned["third"])))
            assert bootstrap is not None
            change_state(bootstrap.bootstrap, attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(left)))
        return await plain(self, text, order, asker)

    monkeypatch.setattr(ConfigApplication, "apply", apply)
    ended = pyshard3(*arguments)
    assert (ended.code, ended.out, len(tries)) == (2, "", 1)
    assert ended.error.startswith("pyshard: found shard 'third', expected one of the cluster: shard")
    assert ended.error.count("\n") == 1


def test_what_the_bootstrap_refuses(pyshard3: Commands) -> None:
    """What moves already isn't moved again: exit code 5, and the bootstrap's line."""
    assert pyshard3("move", "0.25:0.5", "--to", "third").code == 0
    ended = pyshard3("move", "0.3:0.4", "--to", "shard1")
    assert (ended.code, ended.out) == (5, "")
    assert "which move 1 has already" in ended.error or "doesn't own" in ended.error
