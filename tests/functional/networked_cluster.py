"""A shard with replicas, two bootstraps and three etcd servers, each on a machine of its own (`network_namespaces`).

The test itself is on the machine `OPERATOR`, which nobody is cut from.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from functional.attacks import command, exchange
from functional.cluster import Daemon, until
from functional.etcd_servers import EtcdServers
from functional.network_namespaces import Network
from functional.replicated_cluster import ReplicatedCluster
from ports import free_port

from pyshard import Pyshard
from pyshard.bootstrap.state_stores.etcd_messages import read_range
from pyshard.model.cluster_state_json import StateReader
from pyshard.model.replica_group import ReplicaGroup
from pyshard.protocol.commands import Stat

#: The machines of each kind, and that of the test.
REPLICAS = ("a", "a.2", "a.3")
BOOTSTRAPS = ("bootstrap", "second")
ETCD = ("etcd1", "etcd2", "etcd3")
CLIENTS = ("blocking", "asyncio")
OPERATOR = "operator"

#: All of them.
MACHINES = (*REPLICAS, *BOOTSTRAPS, *ETCD, *CLIENTS, OPERATOR)

_KEY = base64.b64encode(b"/pyshard/state").decode()


class NetworkedCluster(ReplicatedCluster):
    """Nothing is started yet.

    :param network: has `MACHINES`.
    :param lease: seconds.
    :param least: see ``min_replicas`` of the config; None: its default.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        network: Network,
        lease: float = 1.0,
        least: int | None = None,
    ) -> None:
        machines = network.machines
        self.second: Daemon | None = None
        super().__init__(folder, environment, len(REPLICAS), lease, least, machines=machines)
        self.network = network
        self.etcd = EtcdServers(folder, len(ETCD), machines=[machines[name] for name in ETCD])
        place, port = machines["second"], free_port()
        options = ["--config=etc/shards.json", f"--listen={place.host}:{port}", "--insecure"]
        self.second = Daemon(folder, "second", port, environment, "pyshard-bootstrap", *options, machine=place)
        for daemon in (self.bootstrap, self.second):
            daemon.add_option(f"--state={self.etcd.address}")

    @property
    def daemons(self) -> list[Daemon]:
        """Bootstraps and replicas."""
        return [*super().daemons, *([] if self.second is None else [self.second])]

    @property
    def server(self) -> str:
        """What clients are to be given: the addresses of both bootstraps."""
        assert self.second is not None
        return f"{self.bootstrap.address},{self.second.address}"

    def start(self) -> None:
        """Start everything, and wait until it is whole."""
        self.etcd.start()
        super().start()

    def close(self) -> None:
        """Kill everything."""
        for daemon in self.daemons:
            daemon.kill()
        self.etcd.close()

    def group(self) -> ReplicaGroup:
        """The shard's group, as etcd has it."""
        for number in range(len(ETCD)):
            with suppress(OSError):
                answer = self.etcd.call(number, "kv/range", {"key": _KEY})
                found = read_range(json.dumps(answer).encode(), StateReader())
                assert found is not None, "no bootstrap has written a state yet"
                group = found.state.map.shards[0].group
                assert group is not None
                return group
        raise AssertionError("no etcd server answers")

    def roles(self) -> list[str]:
        """What each replica says that it is."""
        answers = [exchange(each, command("Stat"), 1)[0] for each in self.replicas]
        return [str(json.loads(Stat.answer_in(answer)["stat"])["replica"]["role"]) for answer in answers]

    def index(self, name: str) -> None:
        """Create an index, and wait until both bootstraps know it."""
        with Pyshard(self.server) as app:
            app.create_index(name)
        for daemon in (self.bootstrap, self.second):
            assert daemon is not None
            with Pyshard(daemon.address) as app:
                until(lambda app=app: name in app.indexes(), f"{daemon.name} knows of {name}")  # type: ignore[misc]
