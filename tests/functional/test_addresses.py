"""Where daemons are found: several addresses, shards that move, names, IPv6, and the bootstrap away."""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any

import pytest
from functional.cluster import HOST, PATIENCE, Cluster, NewCluster, run, until
from ports import free_port

from pyshard import Pyshard
from pyshard.errors import ConfigError, Unavailable

pytestmark = pytest.mark.functional


def has_ipv6() -> bool:
    """Whether this machine's loopback has an IPv6 address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_bootstrap_down(cluster: Cluster) -> None:
    """Without a bootstrap clients go on, new ones get the map from any shard; shards that restart are found again."""
    shards = [f"{HOST}:{shard.port}" for shard in cluster.shards]
    keys = [cluster.keys(number, 1)[0] for number in range(2)]
    with Pyshard(cluster.server) as old:
        old.write(keys[0], 1)
        cluster.bootstrap.end()
        for key in keys:
            assert old.write(key, 1) == 28
        for servers in (shards[1], [cluster.server, shards[0]], ",".join([cluster.server, *shards])):
            began = time.monotonic()
            with Pyshard(servers) as app:
                assert app.read(keys[0]) is not None
            assert time.monotonic() - began < 5  # the deadline is 10
        with pytest.raises(Unavailable) as nobody:
            Pyshard([cluster.server, f"localhost:{cluster.bootstrap.port}"], deadline=2)
        assert str(nobody.value).count("connection refused") == 2
        with Pyshard(shards) as app, pytest.raises(ConfigError, match="only the bootstrap can do this"):
            app.create_index("pages")
        command = [f"--bootstrap={cluster.server}", f"--bootstrap={shards[0]}", "read", keys[0]]
        ran = run(cluster.folder, cluster.environment, sys.executable, "-m", "pyshard.cli", *command)
        assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "1", "")


def test_shard_moves(new_cluster: NewCluster) -> None:
    """A shard that comes back on another port, by the config file, is found by clients that knew the old one."""
    cluster = new_cluster(durable=True)
    cluster.start()
    key = cluster.keys(0, 1)[0]
    with Pyshard(cluster.server, deadline=PATIENCE) as app, Pyshard(cluster.server, deadline=PATIENCE) as idle:
        app.increment(key)
        idle.read(key)
        cluster.shards[0].end()
        cluster.config[0]["port"] = cluster.shards[0].port = free_port()
        cluster.shards[0].add_option(f"--port={cluster.shards[0].port}")
        cluster.write_config()
        cluster.shards[0].start()
        cluster.bootstrap.end()
        cluster.bootstrap.start()
        assert app.increment(key) == 2
        assert idle.increment(key) == 3
        cluster.wait_ready()


@pytest.mark.long
def test_names(cluster: Cluster, new_cluster: NewCluster) -> None:
    """Shards and bootstrap go by names, too; a shard's name that leads nowhere is told in a line, by the deadline."""
    named = new_cluster()
    for shard in named.config:
        shard["host"] = "localhost"
    named.write_config()
    named.start()
    with Pyshard(["localhost", named.bootstrap.port]) as app:
        assert app.write("test", 1) == app.write("test1", 1) == 28
    with pytest.raises(Unavailable, match="no-such-host") as unknown:
        Pyshard("no-such-host.invalid:9192", deadline=2)
    assert "\n" not in str(unknown.value)
    with Pyshard(["no-such-host.invalid:9192", cluster.server]) as app:
        assert app.write("test", 1) == 28
    lost = cluster.keys(0, 1)[0], cluster.keys(1, 1)[0]
    cluster.config[0]["host"] = "no-such-host.invalid"
    cluster.write_config()
    cluster.bootstrap.end()
    cluster.bootstrap.start()
    cluster.wait_states("unreachable", "ready")
    with Pyshard(cluster.server) as app:
        until(lambda: "no-such-host.invalid" in app.readiness()[0]["detail"], "the name was looked up in vain")
        assert app.write(lost[1], 1) == 28
        with pytest.raises(Unavailable, match="no-such-host"):
            app.write(lost[0], 1, deadline=2)


#: The loopback's IPv6 address, also with its zone.
LOOPBACKS = ["::1", *(f"::1%{name}" for _, name in socket.if_nameindex() if name.startswith("lo"))]


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", LOOPBACKS)
def test_ipv6(new_cluster: NewCluster, host: str) -> None:
    """A cluster on IPv6 alone: in the config file, in options, for both clients and the command."""
    cluster = new_cluster()
    for shard in cluster.config:
        shard["host"] = host
    config: dict[str, Any] = {"shards": cluster.config, "bootstrap": {"host": host, "port": cluster.bootstrap.port}}
    (cluster.folder / "etc" / "shards.json").write_text(json.dumps(config))
    for daemon in cluster.shards:
        daemon.add_option(f"--host={host}")
    for daemon in cluster.daemons:
        daemon.start()
    port = cluster.bootstrap.port
    escaped, quoted = host.replace(":", "\\:"), host.replace("%", "%25")
    servers: list[Any] = [
        f"[{host}]:{port}",
        [host, port],
        f"tcp:{escaped}:{port}",
        f"[{host}]:{cluster.shards[0].port}",
    ]
    servers.append(f"pyshard://[{quoted}]:{port}")
    for server in servers:
        with Pyshard(server, deadline=PATIENCE) as app:
            assert app.write("test", "hello world") == 60
            stat: Any = app.stat()
            assert [shard["address"] for shard in stat["shards"]] == [
                f"[{host}]:{shard.port}" for shard in cluster.shards
            ]
    ran = run(
        cluster.folder,
        cluster.environment,
        sys.executable,
        "-m",
        "pyshard.cli",
        f"--bootstrap=[{host}]:{port}",
        "read",
        "test",
    )
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, '"hello world"', "")
