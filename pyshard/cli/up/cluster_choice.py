"""The cluster that `up` runs: the one of a config file, of a data directory, or the default one.

Rules:

- everything is checked before anything starts: hosts and ports can be listened on, and no two daemons share one;
- a config file's ports are binding; without a config file, a free port takes the place of one that is in use, unless
  that daemon announces another address than the one where it listens;
- a cluster that other machines can reach must be guarded, or the user must have said ``--insecure``.
"""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs

from pyshard.cli.up.daemon_commands import Access
from pyshard.cli.up.directories import CONFIG, ClusterData
from pyshard.errors import ConfigError
from pyshard.model import config_file
from pyshard.model.address_mapping import HostAndPort
from pyshard.model.address_text import host_and_port
from pyshard.model.cluster_state import ClusterState
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.model.key_slots import SLOTS
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.security.private_files import replace_privately
from pyshard.server import listen_address
from pyshard.settings import settings

_HOST = "127.0.0.1"
_LIMIT = 1024**3  # bytes that each shard of the default cluster may store

#: The cluster that `up` runs when it is given none: that of etc/shards.json.
DEFAULT = ClusterConfig(
    ShardMap(
        [
            MapShard("shard0-0.5", ((0, SLOTS // 2),), _LIMIT, _HOST, settings.SHARD_PORT),
            MapShard("shard0.5-1", ((SLOTS // 2, SLOTS),), _LIMIT, _HOST, settings.SHARD_PORT + 1),
        ]
    ),
    str(settings.BOOTSTRAP_SERVER[0]),
    int(settings.BOOTSTRAP_SERVER[1]),
)


def read(path: Path) -> ClusterConfig:
    """The cluster of a config file that can be run here.

    :raises ConfigError: the file can't be used (`config_file.load`), or its cluster can't run here (`check_ports`).
    """
    cluster = config_file.load(path)
    try:
        check_ports(cluster)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return cluster


def with_all_shards(cluster: ClusterConfig, state: ClusterState) -> ClusterConfig:
    """The cluster with the shards and ranges that it has, and beside them those that its config adds.

    :param cluster: as the config has it, with the addresses of the state's shards that are in it.
    """
    known = [attrs.evolve(shard, identity="", durable=False) for shard in state.map.shards]
    added = [attrs.evolve(shard, ranges=()) for shard in cluster.map.shards if state.map.named(shard.name) is None]
    return attrs.evolve(cluster, map=ShardMap([*known, *added]))


def remembered(data: ClusterData | None) -> ClusterConfig:
    """The cluster to run without a config file: that of the data directory if it has one, else the default."""
    path = None if data is None else data.directory / CONFIG
    return DEFAULT if path is None or not path.exists() else config_file.load(path)


def remember(data: ClusterData, cluster: ClusterConfig) -> None:
    """Write a cluster into the data directory, for `remembered`.

    :raises OSError: it can't be written; what was remembered stays.
    """
    path = data.directory / CONFIG
    text = config_text(cluster)
    if path.exists() and path.read_bytes() == text:
        return
    replace_privately(path, text)


def check_ports(cluster: ClusterConfig) -> None:
    """Refuse a cluster that can't run on this machine now.

    :raises ConfigError: a host is none of this machine's addresses, or a port is in use, or used twice.
    """
    used: dict[HostAndPort | str, str] = {}
    for listener in _listeners(cluster):
        try:
            string = listener.string()
            listening = listen_address.reached_at(string) or string
        except ConfigError as error:
            raise ConfigError(f"{listener.name}: {error}") from None
        if listening in used:
            raise ConfigError(
                f"{listener.name}: found {listener.where}, where {used[listening]} listens too, expected a free port"
            )
        used[listening] = listener.name


def check_reach(cluster: ClusterConfig, access: Access) -> None:
    """Refuse a cluster that other machines can reach while nothing guards it.

    :raises ConfigError: the message names the daemon.
    """
    for listener in _listeners(cluster):
        try:
            listen_address.check_reach(listener.string(), access.may_be_reachable)
        except ConfigError as error:
            raise ConfigError(f"{listener.name}: {error}") from None


def with_replicas(cluster: ClusterConfig, replicas: int) -> ClusterConfig:
    """The cluster with so many replicas of each shard, a hundred ports from one to the next.

    Those that are there stay where they are. So do the lease, and how many must be there, if their number is the same.
    """

    def replicated(shard: MapShard) -> MapShard:
        places = shard.places
        if len(places) == replicas or replicas == 1:
            first = places[0]
            alone = attrs.evolve(shard, host=first[0], port=first[1], group=None)
            return shard if len(places) == replicas else alone
        more = ((places[0][0], places[0][1] + 100 * number) for number in itertools.count(1))
        chosen = [*places[:replicas]]
        while len(chosen) < replicas:
            place = next(more)
            if place not in chosen:
                chosen.append(place)
        lease = settings.LEASE if shard.group is None else shard.group.lease
        return shard.led_by_group(new_group(itertools.starmap(MapReplica, chosen), lease=lease))

    return attrs.evolve(cluster, map=ShardMap(map(replicated, cluster.map.shards)))


def with_free_ports(cluster: ClusterConfig, keeps: bool = False) -> tuple[ClusterConfig, list[str]]:
    """Replace each port that is in use by a free one.

    :param keeps: whether replicas have been there before, perhaps. They are known by their ports, so these stay.
    :return: the cluster, and a line for the user about each replaced port.
    :raises ConfigError: a port is in use that has to stay.
    """
    notes = []
    fixed = {shard.name for shard in cluster.map.shards if keeps and shard.group is not None}
    with ExitStack() as held:  # a chosen port stays bound until all are chosen, so none is chosen twice

        def free(name: str, host: str, port: int, elsewhere: bool, stays: bool = False) -> int:
            if elsewhere:
                return port
            try:
                listen_address.listen_string(host, port)
            except ConfigError as error:
                if stays:
                    raise ConfigError(f"{name}: {error}") from None
                chosen = _bind_free_port(held.enter_context(socket.socket()))
                notes.append(f"Port {port} is in use: {name} listens on {chosen} instead.")
                return chosen
            return port

        ports = {
            (place.host, place.port): free(
                place.name, place.host, place.port, place.listen is not None, place.shard in fixed
            )
            for place in cluster.places
        }
        shards = [_with_ports(shard, ports) for shard in cluster.map.shards]
        port = free(
            "the bootstrap", cluster.bootstrap_host, cluster.bootstrap_port, cluster.bootstrap_listen is not None
        )
    return attrs.evolve(cluster, map=ShardMap(shards), bootstrap_port=port), notes


def _with_ports(shard: MapShard, ports: Mapping[HostAndPort, int]) -> MapShard:
    """A shard at other ports.

    :param ports: host and port of each place → the port that takes its place.
    """
    if shard.group is None:
        return attrs.evolve(shard, port=ports[shard.host, shard.port])
    group = shard.group
    replicas = [MapReplica(each.host, ports[each.host, each.port]) for each in group.replicas]
    return shard.led_by_group(new_group(replicas, group.least, group.lease))


def _bind_free_port(probe: socket.socket) -> int:
    """Bind to a free port outside of the range from which the system takes ports for dialing.

    From inside that range the system could give a daemon's port to a dialing program while the daemon is down.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            probe.bind((_HOST, port))
        except OSError:
            continue
        return port


@attrs.frozen
class _DaemonPlace:
    """Where a daemon listens.

    :param name: the daemon's, for messages.
    :param address: what the config file announces.
    :param listen: where it listens, if the config file says so.
    """

    name: str
    address: HostAndPort
    listen: str | None

    @property
    def where(self) -> str:
        """Where it listens, as the config file says it."""
        return self.listen or host_and_port(*self.address)

    def string(self) -> str:
        """The Twisted server endpoint string of that.

        :raises ConfigError: it can't listen there.
        """
        if self.listen:
            return listen_address.listening(self.listen, "listen")
        return listen_address.listen_string(*self.address)


def _listeners(cluster: ClusterConfig) -> list[_DaemonPlace]:
    shards = [_DaemonPlace(place.name, (place.host, place.port), place.listen) for place in cluster.places]
    bootstrap = cluster.bootstrap_host, cluster.bootstrap_port
    return [*shards, _DaemonPlace("the bootstrap", bootstrap, cluster.bootstrap_listen)]
