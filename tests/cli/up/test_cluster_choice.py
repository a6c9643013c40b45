"""The cluster that `up` runs: of a file, of a data directory, or the default one on free ports."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from cli.up.configured import HOST, cluster
from ports import free_port

from pyshard.bootstrap.bootstrap import first_state
from pyshard.cli.up.cluster_choice import (
    DEFAULT,
    check_ports,
    check_reach,
    remember,
    remembered,
    with_all_shards,
    with_free_ports,
    with_replicas,
)
from pyshard.cli.up.daemon_commands import Access
from pyshard.cli.up.directories import ClusterData
from pyshard.errors import ConfigError
from pyshard.model import config_file
from pyshard.model.config_file import ClusterConfig
from pyshard.model.key_slots import SLOTS
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import ShardMap

CHECKOUT = Path(__file__).parents[3]


def test_default_is_the_example() -> None:
    """Without a config file it is the cluster of etc/shards.json."""
    assert config_file.load(CHECKOUT / "etc" / "shards.json") == DEFAULT


ELSEWHERE = attrs.evolve(
    DEFAULT, listen={"shard0-0.5": "0.0.0.0:5050", "shard0.5-1": "unix:/run/shard"}, bootstrap_listen="tcp:9192"
)


def test_remembered_with_other_places(tmp_path: Path) -> None:
    """What is remembered also says where daemons listen that announce other addresses."""
    remember(ClusterData(tmp_path), ELSEWHERE)
    assert remembered(ClusterData(tmp_path)) == ELSEWHERE


def test_announced_addresses_are_not_listened_on() -> None:
    """A host that is no address of this machine may be announced by a daemon that listens elsewhere."""
    ports = [free_port(), free_port(), free_port()]
    made = cluster(*ports[:2], bootstrap=ports[2], host="192.0.2.1")
    listen = {"a": f"{HOST}:{ports[0]}", "b": f"tcp:{ports[1]}:interface={HOST}"}
    elsewhere = attrs.evolve(made, listen=listen, bootstrap_host="192.0.2.1", bootstrap_listen=f"{HOST}:{ports[2]}")
    check_ports(elsewhere)
    check_reach(elsewhere, Access())
    with pytest.raises(ConfigError, match=r"^shard 'b': can't listen on 192\.0\.2\.1:\d+: cannot assign requested"):
        check_ports(attrs.evolve(elsewhere, listen={"a": listen["a"]}))


@pytest.mark.parametrize("form", ["{}:{}", "tcp:{1}:interface={0}", "tcp:{1}"])
def test_places_in_use_or_used_twice(form: str, taken: int) -> None:
    """Where a daemon listens can be in use, or another daemon's: an error, since it isn't replaced by a free port."""
    port = free_port()
    made = cluster(free_port(), free_port(), bootstrap=free_port())
    busy = attrs.evolve(made, listen={"b": form.format(HOST, taken)})
    for check in (check_ports, lambda one: check_reach(with_free_ports(one)[0], Access(insecure=True))):
        with pytest.raises(ConfigError, match=rf"^shard 'b': can't listen on [\d.]+:{taken}: address already in use"):
            check(busy)
    where = form.format(HOST, port)
    with pytest.raises(ConfigError) as refused:
        check_ports(attrs.evolve(made, listen={"a": f"{HOST}:{port}"}, bootstrap_listen=where))
    assert str(refused.value) == f"the bootstrap: found {where}, where shard 'a' listens too, expected a free port"


def test_announced_ports_stay(taken: int) -> None:
    """A port that is announced isn't replaced, whoever listens there: its daemon listens elsewhere."""
    made = cluster(taken, bootstrap=taken)
    here = [f"{HOST}:{free_port()}" for _ in range(2)]
    elsewhere = attrs.evolve(made, listen={"a": here[0]}, bootstrap_listen=here[1])
    assert with_free_ports(elsewhere) == (elsewhere, [])


def test_reach_is_that_of_the_place() -> None:
    """Who can connect is told by where a daemon listens, not by what is announced."""
    made = attrs.evolve(cluster(free_port(), bootstrap=free_port()), listen={"a": f"0.0.0.0:{free_port()}"})
    with pytest.raises(
        ConfigError, match=r"^shard 'a': found 'tcp:.*', on which others than this machine could connect"
    ):
        check_reach(made, Access())
    check_reach(made, Access(insecure=True))


def test_a_place_at_no_port() -> None:
    """What can be no port is refused with the daemon and the field."""
    made = attrs.evolve(cluster(free_port(), bootstrap=free_port()), listen={"a": "tcp:99999"})
    with pytest.raises(ConfigError, match=r"^shard 'a': listen: found '99999', expected a port from 1 to 65535$"):
        check_ports(made)


def test_free_ports_stay() -> None:
    """Ports that are free are used as they are."""
    wanted = cluster(free_port(), bootstrap=free_port())
    assert with_free_ports(wanted) == (wanted, [])


def test_ports_in_use_are_replaced(taken: int) -> None:
    """A port in use is replaced by a free one, with a note; the other ports stay."""
    shard = free_port()
    chosen, notes = with_free_ports(cluster(shard, bootstrap=taken))
    assert [shard.port for shard in chosen.map.shards] == [shard]
    assert chosen.bootstrap_port not in (taken, shard)
    assert notes == [f"Port {taken} is in use: the bootstrap listens on {chosen.bootstrap_port} instead."]
    assert 20_000 <= chosen.bootstrap_port < 32_000
    check_ports(chosen)


def test_with_replicas() -> None:
    """Each shard has so many, a hundred ports apart; those that are there stay where they are."""
    two = with_replicas(cluster(1001, 1002, bootstrap=1), 2)
    assert [shard.addresses for shard in two.map.shards] == [
        [f"{HOST}:1001", f"{HOST}:1101"],
        [f"{HOST}:1002", f"{HOST}:1102"],
    ]
    three = with_replicas(two, 3).map.shards[0]
    assert three.group is not None
    assert (three.addresses, three.group.least) == ([f"{HOST}:1001", f"{HOST}:1101", f"{HOST}:1201"], 2)
    assert with_replicas(two, 2) == two
    assert with_replicas(two, 1) == cluster(1001, 1002, bootstrap=1)


def test_ports_of_replicas(taken: int) -> None:
    """They are replaced as those of shards, unless there may be replicas by then that are known by them."""
    made = cluster(free_port(), bootstrap=free_port())
    (shard,) = made.map.shards
    group = new_group([MapReplica(HOST, shard.port), MapReplica(HOST, taken)], 2, 1.0)
    replicated = attrs.evolve(made, map=ShardMap([shard.led_by_group(group)]))
    chosen, notes = with_free_ports(replicated)
    (found,) = chosen.map.shards
    assert found.group is not None
    assert (found.address, found.group.least, found.group.lease) == (shard.address, 2, 1.0)
    assert notes == [f"Port {taken} is in use: replica 2 of shard 'a' listens on {found.places[1][1]} instead."]
    check_ports(chosen)
    for check in (check_ports, lambda one: with_free_ports(one, keeps=True)):
        with pytest.raises(ConfigError, match=r"^replica 2 of shard 'a': can't listen on .*: address already in use"):
            check(replicated)


def test_no_port_is_chosen_twice(taken: int) -> None:
    """Ports in use are replaced by different free ones."""
    ranges = [attrs.evolve(shard, port=taken) for shard in DEFAULT.map.shards]
    wanted = ClusterConfig(ShardMap([ranges[0], attrs.evolve(ranges[1], host="localhost")]), HOST, taken)
    chosen, notes = with_free_ports(wanted)
    assert len({taken, chosen.bootstrap_port, *(shard.port for shard in chosen.map.shards)}) == 4
    assert len(notes) == 3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_port_in_use(taken: int, number: int) -> None:
    """A config file's port that is in use is an error which names the daemon."""
    ports = [free_port(), free_port(), free_port()]
    ports[number] = taken
    with pytest.raises(ConfigError) as refused:
        check_ports(cluster(*ports[:2], bootstrap=ports[2]))
    name = ["shard 'a'", "shard 'b'", "the bootstrap"][number]
    assert str(refused.value).startswith(f"{name}: can't listen on {HOST}:{taken}: address already in use")


def test_port_used_twice() -> None:
    """Two daemons at one address are an error, also by two names of the address."""
    port = free_port()
    with pytest.raises(ConfigError) as refused:
        check_ports(cluster(port, bootstrap=port))
    assert str(refused.value) == (
        f"the bootstrap: found {HOST}:{port}, where shard 'a' listens too, expected a free port"
    )


def test_host_of_another_machine() -> None:
    """A host that isn't this machine's is an error."""
    with pytest.raises(
        ConfigError, match=r"^shard 'a': can't listen on 192.0.2.1:\d+: cannot assign requested address"
    ):
        check_ports(cluster(free_port(), bootstrap=free_port(), host="192.0.2.1"))


def test_remembered_cluster(tmp_path: Path) -> None:
    """Without a config file it is the cluster that the data directory had the last time, else the default one."""
    data = ClusterData(tmp_path)
    assert remembered(None) == remembered(data) == DEFAULT
    for port in (1003, 1004, 1004):
        remember(data, cluster(1001, 1002, bootstrap=port))
        assert remembered(data) == cluster(1001, 1002, bootstrap=port)
    assert [path.name for path in tmp_path.iterdir()] == ["shards.json"]


def test_shards_beside_those_of_the_config() -> None:
    """What runs is what the cluster has, at the config's addresses, and what the config adds, without ranges."""
    state = first_state("c1", DEFAULT.map).with_identity("shard0-0.5", "1d", durable=True)
    other = attrs.evolve(DEFAULT.map.shards[1], name="new", port=6000)
    config = attrs.evolve(DEFAULT, map=ShardMap([attrs.evolve(DEFAULT.map.shards[0], port=6001), other]))
    found = with_all_shards(config, state.with_addresses(config.map))
    assert [(shard.name, shard.ranges, shard.port, shard.identity) for shard in found.map.shards] == [
        ("shard0-0.5", ((0, SLOTS // 2),), 6001, ""),
        ("shard0.5-1", ((SLOTS // 2, SLOTS),), 5051, ""),
        ("new", (), 6000, ""),
    ]
    assert attrs.evolve(found, map=config.map) == config
