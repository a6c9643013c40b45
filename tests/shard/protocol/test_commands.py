"""The shard over its protocol: what each command takes and answers, byte for byte where it matters."""

from __future__ import annotations

import json

import attrs
import pytest
from shard.served import ONE, ROOMY, Bench
from shard.states import LOW

from pyshard import __version__
from pyshard.clocks import wall_seconds
from pyshard.compiled import IN_USE
from pyshard.errors import (
    BadRequest,
    ForeignCluster,
    IndexNotFound,
    NotConfigured,
    PyshardError,
    ShardBehind,
    StaleEpoch,
    WrongIdentity,
    WrongShard,
)
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Write
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.protocol.pages import decode_keys, encode_ranges
from pyshard.settings import settings
from pyshard.shard.assignment import Assignment
from pyshard.storage import MemoryStore

# -- who it is ------------------------------------------------------------------------------------------------------


def test_hello_of_a_new_shard(new: Bench) -> None:
    """A shard that isn't configured says so by an empty cluster and name, and epoch 0."""
    assert new.ask(commands.Hello, protocol=2) == {
        "protocol": 2,
        "role": "shard",
        "identity": "1d",
        "incarnation": "1d",
        "cluster": "",
        "name": "",
        "epoch": 0,
        "ephemeral": True,
        "connection": "c1",
    }


def test_hello(bench: Bench) -> None:
    """A configured shard tells its place; who asks learns which connection he has."""
    bench.peer = bench.connect(BoundedAMP(bench.clock))
    assert bench.ask(commands.Hello, protocol=2) == {
        "protocol": 2,
        "role": "shard",
        "identity": "1d",
        "incarnation": "1d",
        "cluster": "c1",
        "name": "low",
        "epoch": 7,
        "ephemeral": True,
        "connection": "c2",
    }


def test_hello_of_a_store_that_has_lost_changes(new: Bench) -> None:
    """The incarnation is another one, the identity isn't."""
    assert isinstance(new.shard.store, MemoryStore)
    new.shard.store.incarnation = "2e"
    hello = new.ask(commands.Hello, protocol=1)
    assert (hello["identity"], hello["incarnation"]) == ("1d", "2e")


def test_hello_from_another_version(new: Bench) -> None:
    """A peer of another version is told this side's: the caller decides."""
    assert new.ask(commands.Hello, protocol=99)["protocol"] == 2


def test_ping(new: Bench) -> None:
    """It is there."""
    assert new.ask(commands.Ping) == {}


def test_nobody_has_a_replica_forgotten(bench: Bench) -> None:
    """Else the primary would keep nothing for it any more."""
    with pytest.raises(BadRequest, match="so replicas are called"):
        bench.ask(commands.ForgetFollower, follower="replica 127.0.0.1:6050")


def test_get_map(bench: Bench) -> None:
    """It gives the cluster state that it was told."""
    assert cluster_state_json.from_json(bench.ask(commands.GetMap)["state"]) == ROOMY


def test_nothing_works_before_it_is_configured(new: Bench) -> None:
    """Until it is configured it refuses all commands that need a range, and goes on answering."""
    asks: list[tuple[type[Command], dict[str, object]]] = [
        (commands.GetMap, {}),
        (commands.Apply, {"epoch": 0, "batch": encode_runs([])}),
        (commands.Keys, {"epoch": 0, "index": "", "slot": 0}),
        (commands.Count, {"epoch": 0, "index": "", "slot": 0}),
    ]
    for command, arguments in asks:
        with pytest.raises(NotConfigured):
            new.ask(command, **arguments)
    assert new.ask(commands.Ping) == {}


@pytest.mark.parametrize("command", [commands.CreateIndex, commands.DropIndex])
def test_commands_of_the_bootstrap(bench: Bench, command: type[Command]) -> None:
    """A shard doesn't answer what only a bootstrap can."""
    with pytest.raises(UnknownCommand):
        bench.ask(command, name="pages")
    with pytest.raises(UnknownCommand):
        bench.ask(commands.Readiness)
    assert bench.ask(commands.Ping) == {}


# -- configure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state", "error"),
    [
        ("low", attrs.evolve(ROOMY, cluster="c2", epoch=9), ForeignCluster),
        ("high", attrs.evolve(ROOMY, epoch=9), WrongIdentity),
        ("mid", attrs.evolve(ROOMY, epoch=9), BadRequest),
        ("low", attrs.evolve(ROOMY, epoch=6), StaleEpoch),
    ],
)
def test_configure_refused(bench: Bench, name: str, state: ClusterState, error: type[PyshardError]) -> None:
    """What a shard doesn't take on is refused with an error of its own, and changes nothing."""
    with pytest.raises(error):
        bench.configure(state, name)
    assert bench.shard.assignment == Assignment("low", ROOMY)


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_configure_with_garbage(bench: Bench, text: bytes) -> None:
    """What is no cluster state is the caller's mistake."""
    with pytest.raises(BadRequest, match=r"^this is no cluster state: "):
        bench.ask(commands.Configure, name="low", state=text)
    assert bench.shard.assignment == Assignment("low", ROOMY)


def test_configure_with_many_indexes(bench: Bench) -> None:
    """A state of more than one chunk arrives."""
    names = {f"{'n' * 90}{number}": number for number in range(1, 1001)}
    state = attrs.evolve(ROOMY, epoch=8, indexes=names, next_index=1001)
    assert len(cluster_state_json.to_json(state)) > 65_535
    bench.configure(state)
    assert cluster_state_json.from_json(bench.ask(commands.GetMap)["state"]) == state


# -- keys -----------------------------------------------------------------------------------------------------------


def test_keys(bench: Bench) -> None:
    """A page, the end of the shard's range, and whether there is more."""
    keys = sorted((b"%d" % number for number in range(20)), key=slot_of)
    own = [key for key in keys if slot_of(key) < LOW.ranges[0][1]]
    bench.apply(Write("", own, [ONE] * len(own)))
    answer = bench.ask(commands.Keys, epoch=7, index="", slot=0)
    assert (decode_keys(answer["keys"]), answer["end"], answer["more"]) == (own, LOW.ranges[0][1], False)
    answer = bench.ask(commands.Keys, epoch=7, index="", slot=slot_of(own[2]), after=own[2])
    assert decode_keys(answer["keys"]) == own[3:]
    answer = bench.ask(commands.Keys, epoch=7, index="pages", slot=0)
    assert (decode_keys(answer["keys"]), answer["more"]) == ([], False)


def test_pages_lead_through_all_keys(bench: Bench) -> None:
    """Going on behind each page's last key gives every key once, in order."""
    own = [key for key in (b"%d" % number for number in range(5000)) if slot_of(key) < LOW.ranges[0][1]]
    bench.apply(Write("", own, [ONE] * len(own)))
    found: list[bytes] = []
    answer = bench.ask(commands.Keys, epoch=7, index="", slot=0)
    while answer["more"]:
        found += decode_keys(answer["keys"])
        answer = bench.ask(commands.Keys, epoch=7, index="", slot=slot_of(found[-1]), after=found[-1])
    found += decode_keys(answer["keys"])
    assert found == sorted(own, key=lambda key: (slot_of(key), key))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"epoch": 8, "index": "", "slot": 0}, ShardBehind),
        ({"epoch": 7, "index": "gone", "slot": 0}, IndexNotFound),
        ({"epoch": 7, "index": "", "slot": LOW.ranges[0][1]}, WrongShard),
        ({"epoch": 7, "index": "", "slot": -1}, BadRequest),
        ({"epoch": 7, "index": "", "slot": SLOTS}, BadRequest),
    ],
)
@pytest.mark.parametrize("command", [commands.Keys, commands.Count])
def test_keys_and_count_refused(
    bench: Bench, command: type[Command], arguments: dict[str, object], error: type[PyshardError]
) -> None:
    """What can't be answered is refused with an error of its own."""
    with pytest.raises(PyshardError) as refused:
        bench.ask(command, **arguments)
    assert type(refused.value) is error


def test_count(bench: Bench) -> None:
    """How many documents an index has on the shard, and the end of the shard's range."""
    own = [key for key in (b"%d" % number for number in range(20)) if slot_of(key) < LOW.ranges[0][1]]
    bench.apply(Write("", own, [ONE] * len(own)))
    ranges = encode_ranges(LOW.ranges)
    assert bench.ask(commands.Count, epoch=7, index="", slot=0) == {"epoch": 7, "documents": len(own), "ranges": ranges}
    assert bench.ask(commands.Count, epoch=6, index="pages", slot=5) == {"epoch": 7, "documents": 0, "ranges": ranges}


# -- stat -----------------------------------------------------------------------------------------------------------


def test_stat(bench: Bench) -> None:
    """What the shard tells of itself, and of each connection: operations count where they came in."""
    bench.network.advance(2)
    other = bench.connect(BoundedAMP(bench.clock))
    bench.apply(Write("", [b"test"], [ONE]), Has("", [b"test", b"test1"]))
    bench.ask(commands.Keys, epoch=7, index="", slot=0)
    bench.ask(commands.Count, epoch=7, index="", slot=0)
    told = json.loads(bench.ask(commands.Stat)["stat"])
    connections = told.pop("connections")
    assert connections == [
        {"id": "c1", "peer": "127.0.0.1:40001", "age": 2.0, "operations": 5},
        {"id": "c2", "peer": "127.0.0.1:40002", "age": 0.0, "operations": 0},
    ]
    assert told.pop("verbs")["write"] == {"done": 1, "refused": 0}
    assert [sum(told["latencies"][kind]["counts"]) for kind in ("read", "change", "keys", "snapshot")] == [0, 1, 1, 0]
    del told["latencies"]
    assert abs(told.pop("time") - wall_seconds()) < 3600
    assert told.pop("files") > 0
    assert told == {
        "id": "1d",
        "incarnation": "1d",
        "version": __version__,
        "name": "low",
        "ranges": [[0.0, 0.5]],
        "epoch": 7,
        "limit": 10**9,
        "documents": 1,
        "bytes": 4 + len(ONE) + 128,
        "histogram": [[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]],
        "operations": 5,
        "parked": 0,
        "uptime": 2.0,
        "ephemeral": True,
        "compiled": IN_USE,
        "connected": 2,
        "most_connected": settings.MAX_CONNECTIONS,
        "connections_by_role": {"none": 0, "read": 0, "backup": 0, "write": 0, "admin": 2},
        "connections_opened": 2,
        "connections_refused": {"limit": 0, "closed": 0, "handshake": 0},
        "ready": True,
        "refusals": {"WRONG_SHARD": 1},
        "expired": 0,
        "snapshots": 0,
        "followers": 0,
        "slowed_to": {"follower": None, "disk": None},
        "slowed_seconds": {"follower": 0.0, "disk": 0.0},
        "slowed_for": "",
        "copies_begun": 0,
        "index_documents": {"": 1, "pages": 0},
        "other_index_documents": 0,
    }
    other.abort()
    bench.network.settle()
    assert len(json.loads(bench.ask(commands.Stat)["stat"])["connections"]) == 1


def test_stat_of_a_new_shard(new: Bench) -> None:
    """A shard that isn't configured tells of itself too."""
    told = json.loads(new.ask(commands.Stat)["stat"])
    assert (told["id"], told["documents"], "name" in told, len(told["connections"])) == ("1d", 0, False, 1)
