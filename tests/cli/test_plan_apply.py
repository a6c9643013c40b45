"""`plan` and `apply` on a cluster in memory: what is shown, what is proposed, what is asked and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from cli.growing import ADDED, grown, ranges, start_third, state_of
from deferreds import change_state
from in_process_command import Commands

from pyshard.bootstrap.change_turns import Asker
from pyshard.bootstrap.config_application import ConfigApplication
from pyshard.cli import config_sending
from pyshard.errors import StaleEpoch
from pyshard.model import config_file
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import ShardMap


@pytest.fixture
def documents(pyshard: Commands) -> Commands:
    """The command on two shards with documents."""
    pyshard.cluster.run(pyshard.cluster.connect().write_many({f"key {number}": number for number in range(300)}))
    return pyshard


def test_growing_and_shrinking(documents: Commands, tmp_path: Path) -> None:
    """A shard is added by a proposal, which moves a third; without it the cluster is as before, and it leaves."""
    start_third(documents)
    file, before = tmp_path / "three.json", state_of(documents)
    ended = documents("plan", "--shards", "3", "--add", ADDED, "--output", str(file))
    assert (ended.code, ended.error) == (0, "")
    head, *_ = ended.out.splitlines()
    assert head.split() == ["from", "to", "ranges", "part", "documents", "bytes"]
    assert "New shards: third.\nAll together: 33.3 % of the keyspace, about " in ended.out
    assert "The least possible: 33.3 %.\nExpected time: at least 1 s, at 32.0 MiB/s. Beside clients" in ended.out
    assert f"pyshard apply {file}" in ended.out
    assert state_of(documents) == before
    config = config_file.load(file)
    assert (config.bootstrap_host, config.bootstrap_port) == ("localhost", 9192)
    assert config.map.named("third") is not None

    ended = documents("apply", "--yes", "--wait", str(file))
    assert (ended.code, ended.out, ended.error) == (0, "Planned moves 1, 2.\nDone.\n", "")
    assert {name: round(sum(bounds[1::2]) - sum(bounds[::2]), 6) for name, bounds in ranges(documents).items()} == {
        "shard0": 0.333333,
        "third": 0.333333,
        "shard1": 0.333333,
    }
    again = documents("apply", str(file))
    assert again.code == 2
    assert "there is no terminal to ask whether to go on; look at 'pyshard plan', and give --yes" in again.error
    assert documents("apply", "--yes", str(file)).out.startswith("Nothing to do")

    two = tmp_path / "two.json"
    two.write_bytes(config_text(ClusterConfig(before.map, "localhost", 9192)))
    ended = documents("apply", "--yes", "--wait", str(two))
    assert ended.code == 0
    assert ended.out.endswith("Apply this again when nothing moves any more, so that third can leave.\n")
    ended = documents("apply", "--yes", str(two))
    assert (ended.code, ended.out) == (0, "Done; nothing has to move.\n")
    assert ranges(documents) == {"shard0": [0, 0.5], "shard1": [0.5, 1]}
    assert documents("count").out == "300\n"


@pytest.mark.parametrize(("now", "then", "part"), [(4, 6, 1 / 3), (4, 5, 1 / 5), (5, 4, 1 / 5)])
def test_the_least_moves(pyshard: Commands, now: int, then: int, part: float) -> None:
    """From 4 equal shards to 6 a third moves, to 5 a fifth, and back a fifth."""
    bounds = [SLOTS * number // now for number in range(now + 1)]
    shard = state_of(pyshard).map.shards[0]
    shards = [
        attrs.evolve(shard, name=f"s{number}", port=6000 + number, ranges=((bounds[number], bounds[number + 1]),))
        for number in range(now)
    ]
    assert pyshard.cluster.bootstrap is not None
    bootstrap = pyshard.cluster.bootstrap.bootstrap
    change_state(bootstrap, attrs.evolve(bootstrap.state, epoch=bootstrap.state.epoch + 1, map=ShardMap(shards)))
    adds = [word for number in range(now, then) for word in ("--add", f"s{number}=127.0.0.1:{6000 + number}")]
    ended = pyshard("plan", "--json", "--shards", str(then), *adds, "--deadline", "1")
    assert (ended.code, ended.error, ended.out.count("\n")) == (0, "", 1)
    found = json.loads(ended.out)
    assert found["part"] == found["least"] == pytest.approx(part, abs=1e-6)
    assert found["emptied"] == [f"s{number}" for number in range(then, now)]
    assert {transfer["documents"] for transfer in found["transfers"]} == {None}
    assert found["seconds"] is None


def test_weights(documents: Commands) -> None:
    """A shard that isn't named has weight 1."""
    found = json.loads(documents("plan", "--weights", "shard0=3", "--json").out)
    assert (found["part"], found["least"]) == (0.25, 0.25)
    [transfer] = found["transfers"]
    assert (transfer["source"], transfer["target"], transfer["ranges"]) == ("shard1", "shard0", [[0.5, 0.75]])


def test_plan_of_a_file(documents: Commands, tmp_path: Path) -> None:
    """A config of one's own is compared with the cluster; with the present one there is nothing to do."""
    file = tmp_path / "shards.json"
    file.write_bytes(config_text(ClusterConfig(state_of(documents).map, "localhost", 9192)))
    ended = documents("plan", str(file))
    assert (ended.code, ended.error) == (0, "")
    assert ended.out == "Nothing to do: the cluster is like that already, or will be when its moves are done.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the config FILE, or --shards, --weights or --add"),
        (["--output", "new.json"], "give the config FILE, or --shards"),
        (["--shards", "2", "--weights", "shard0=2"], "give one of them"),
        (["--shards", "3"], "say where the other 1 is, with --add NAME=HOST:PORT"),
        (["--shards", "5", "--add", ADDED], "say where the other 2 are, with --add"),
        (["--shards", "2", "--add", ADDED], "give --shards 3, or leave --add out"),
        (["--shards", "0"], "0 is not in the range x>=1"),
        (["--add", "third"], "found 'third', expected NAME=HOST:PORT"),
        (["--add", "third=here:70000"], "expected NAME=HOST:PORT"),
        (["--add", "third=here:1,big"], "expected NAME=HOST:PORT"),
        (["--add", "shard0=127.0.0.1:6000"], "found it twice, expected a name for each shard"),
        (["--add", "third=127.0.0.1:5050"], "which is the address of shard 'shard0' too"),
        (["--weights", "shard0"], "found 'shard0', expected NAME=WEIGHT"),
        (["--weights", "shard0=-1"], "expected NAME=WEIGHT"),
        (["--weights", "shard0=1,shard0=2"], "each name once"),
        (["--weights", "other=1"], "there is no shard 'other'; add it with --add"),
        (["--weights", "shard0=0,shard1=0"], "expected one of them to be above 0"),
        (["missing.json"], "missing.json: can't be read"),
        (["some.json", "--shards", "2"], "--shards is for a config that is proposed"),
    ],
)
def test_what_cannot_be_planned(pyshard: Commands, arguments: list[str], message: str) -> None:
    """It is refused in one line that says what to give."""
    ended = pyshard("plan", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.error
    assert ended.error.count("\n") == 1


def third_of(pyshard: Commands, tmp_path: Path) -> str:
    """A config file in which the third shard has a quarter."""
    shards = {shard.name: shard for shard in state_of(pyshard).map.shards}
    quarter = SLOTS // 4
    wanted = [
        attrs.evolve(shards["shard0"], ranges=((0, quarter),)),
        attrs.evolve(shards["third"], ranges=((quarter, SLOTS // 2),)),
        shards["shard1"],
    ]
    file = tmp_path / "third.json"
    file.write_bytes(config_text(ClusterConfig(ShardMap(wanted), "localhost", 9192)))
    return str(file)


def test_apply_asks(pyshard: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the plan is shown first; unless the answer is yes, nothing changes."""
    file = third_of(grown(pyshard), tmp_path)
    monkeypatch.setattr(config_sending, "can_answer", lambda: True)
    ended = pyshard("apply", file, text="n\n")
    assert (ended.code, ended.error) == (1, "Go on? [y/N]: n\npyshard: nothing was changed\n")
    assert "All together: 25.0 % of the keyspace" in ended.out
    assert state_of(pyshard).moves == ()
    ended = pyshard("apply", file, text="y\n")
    assert ended.code == 0
    assert ended.out.endswith("Planned move 1; watch with 'pyshard jobs --follow'.\n")
    assert pyshard("apply", "--json", file).code == 2


def test_apply_as_json(pyshard: Commands, tmp_path: Path) -> None:
    """One line: the plan, and the numbers of the moves; with nothing to do, there are none."""
    file = third_of(grown(pyshard), tmp_path)
    found = json.loads(pyshard("apply", "--yes", "--json", file).out)
    assert (found["moves"], found["part"]) == ([1], 0.25)
    assert json.loads(pyshard("apply", "--yes", "--json", file).out)["moves"] == []


def test_apply_again_when_the_state_changed(pyshard: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config that was made for another state is made and sent again; not for ever."""
    file = third_of(grown(pyshard), tmp_path)
    plain, tries = ConfigApplication.apply, []

    async def apply(self: ConfigApplication, text: bytes, order: tuple[int, int], asker: Asker) -> list[int]:
        tries.append(order)
        if len(tries) != 3:
            raise StaleEpoch("the cluster is at another epoch by now")
        return await plain(self, text, order, asker)

    monkeypatch.setattr(ConfigApplication, "apply", apply)
    assert pyshard("apply", "--yes", file).out.startswith("Planned move 1;")
    assert len(tries) == 3
    ended = pyshard("drain", "shard1")
    assert (ended.code, ended.out, len(tries)) == (3, "", 8)
    assert ended.error == "pyshard: the cluster changes all the time, so that no plan fits it; try again in a moment\n"


def test_asked_again_when_something_else_would_move(
    pyshard: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was agreed to is what is done."""
    file = third_of(grown(pyshard), tmp_path)
    monkeypatch.setattr(config_sending, "can_answer", lambda: True)
    plain, tries = ConfigApplication.apply, []

    async def apply(self: ConfigApplication, text: bytes, order: tuple[int, int], asker: Asker) -> list[int]:
        tries.append(order)
        if len(tries) == 1:
            await plain(self, _with_third(pyshard, 4), state_of(pyshard).order)
            raise StaleEpoch("the cluster is at another epoch by now")
        return await plain(self, text, order, asker)

    monkeypatch.setattr(ConfigApplication, "apply", apply)
    ended = pyshard("apply", file, text="y\nn\n")
    assert (ended.code, len(tries)) == (1, 1)
    assert ended.out.count("All together") == 2
    assert ended.error.count("Go on?") == 2


def _with_third(pyshard: Commands, part: int) -> bytes:
    """A config in which the third shard has the end of the first half."""
    shards = {shard.name: shard for shard in state_of(pyshard).map.shards}
    bound = SLOTS // 2 - SLOTS // 4 // part
    wanted = [
        attrs.evolve(shards["shard0"], ranges=((0, bound),)),
        attrs.evolve(shards["third"], ranges=((bound, SLOTS // 2),)),
        shards["shard1"],
    ]
    return config_text(ClusterConfig(ShardMap(wanted), "localhost", 9192))


def test_what_the_bootstrap_refuses(documents: Commands, tmp_path: Path) -> None:
    """A new shard that isn't there: exit code 3, and a line that says which; nothing moves."""
    file = tmp_path / "three.json"
    assert documents("plan", "--shards", "3", "--add", ADDED, "--output", str(file)).code == 0
    ended = documents("apply", "--yes", str(file))
    assert (ended.code, ended.out) == (3, "")
    assert "shard 'third' at 127.0.0.1:5052 is unreachable" in ended.error
    assert state_of(documents).moves == ()


def test_a_target_without_the_room(pyshard: Commands, tmp_path: Path) -> None:
    """Exit code 5, and the bootstrap's line."""
    file = tmp_path / "small.json"
    pyshard.cluster.run(pyshard.cluster.connect().write_many({f"key {number}": number for number in range(300)}))
    start_third(pyshard)
    pyshard("plan", "--add", f"{ADDED},1000", "--output", str(file))
    ended = pyshard("apply", "--yes", str(file))
    assert (ended.code, ended.out) == (5, "")
    assert "shard 'third' has room for 1,000 bytes" in ended.error


def test_moves_under_way_count_as_done(pyshard: Commands) -> None:
    """What a move is to bring about is what a proposal begins with."""
    pyshard = grown(pyshard)
    assert pyshard("move", "0.25:0.5", "--to", "third").code == 0
    assert pyshard("jobs", "pause", "1").code == 0
    found = json.loads(pyshard("plan", "--shards", "3", "--json").out)
    assert found["part"] == found["least"] == pytest.approx(1 / 6, abs=1e-6)
    assert {(one["source"], one["target"]) for one in found["transfers"]} == {("shard1", "shard0"), ("shard1", "third")}


def test_output_in_place_of_a_config(documents: Commands, tmp_path: Path) -> None:
    """A config file that is there keeps where daemons listen, the bootstrap's address, its mode, and being a link."""
    place, link = tmp_path / "shards.json", tmp_path / "link.json"
    listen = {"shard0": "0.0.0.0:5050", "gone": "0.0.0.0:5059"}
    shards = [
        *state_of(documents).map.shards,
        attrs.evolve(state_of(documents).map.shards[0], name="gone", port=5059, ranges=()),
    ]
    place.write_bytes(config_text(ClusterConfig(ShardMap(shards), "boot.example", 9999, listen, "[::]:9999")))
    place.chmod(0o604)
    link.symlink_to(place)
    assert documents("plan", "--weights", "shard0=3", "--output", str(link)).code == 0
    config = config_file.load(place)
    assert (config.bootstrap_host, config.bootstrap_port, config.bootstrap_listen) == (
        "boot.example",
        9999,
        "[::]:9999",
    )
    assert config.listen == {"shard0": "0.0.0.0:5050"}
    assert [(shard.name, shard.ranges) for shard in config.map.shards] == [
        ("shard0", ((0, 7_500_000),)),
        ("shard1", ((7_500_000, SLOTS),)),
    ]
    assert (link.is_symlink(), place.stat().st_mode & 0o777) == (True, 0o604)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "shards.json"]


def test_output_that_cannot_be_written(documents: Commands, tmp_path: Path) -> None:
    """A file that is no config stays as it is; nor is anything written where nothing can be."""
    notes = tmp_path / "notes.txt"
    notes.write_text("remember the milk")
    ended = documents("plan", "--shards", "2", "--output", str(notes))
    assert (ended.code, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert ended.error.startswith(f"pyshard: --output: {notes}: found text that is not JSON")
    assert ended.error.endswith("; give a file that doesn't exist yet, or a config file\n")
    assert notes.read_text() == "remember the milk"
    ended = documents("plan", "--shards", "2", "--output", str(tmp_path / "missing" / "shards.json"))
    assert (ended.code, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert "can't be written (No such file or directory); give another file" in ended.error


def test_a_proposal_as_json(documents: Commands, tmp_path: Path) -> None:
    """One line has the config, too, which can be applied; the plan of a file has none."""
    ended = documents("plan", "--weights", "shard0=3", "--json")
    assert (ended.code, ended.out.count("\n")) == (0, 1)
    file = tmp_path / "shards.json"
    file.write_text(json.dumps(json.loads(ended.out)["config"]))
    assert "config" not in json.loads(documents("plan", "--json", str(file)).out)
    assert documents("apply", "--yes", "--wait", str(file)).code == 0
    assert ranges(documents) == {"shard0": [0, 0.75], "shard1": [0.75, 1]}
