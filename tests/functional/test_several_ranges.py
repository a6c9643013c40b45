"""Real shards with several ranges, and one with none: every client, restarts, a backup, another config."""

from __future__ import annotations

import json
import signal
import sys
from textwrap import dedent
from typing import Any

import pytest
from functional.cluster import Cluster, NewCluster, run
from functional.shell import shell_on

from pyshard import Pyshard
from pyshard.model.key_slots import slot_of

pytestmark = pytest.mark.functional

#: The ranges of shards a, b and c.
LAYOUT: list[list[tuple[float, float]]] = [[(0.0, 0.1), (0.4, 0.6)], [(0.1, 0.4), (0.6, 1.0)], []]
KEYS = [f"key {number} ü" for number in range(3000)]

#: What each client prints of a cluster with `KEYS`.
_DEFERRED = """
    import sys
    from twisted.internet import task
    from pyshard import connect

    async def main(reactor):
        client = await connect(reactor, sys.argv[1])
        keys = [key async for key in client.keys()]
        pages, items = client.items(), []
        while page := await pages.next_page():
            items += page
        found = await client.get_many(keys)
        print(await client.count(), keys == [key for key, _ in items], found == [document for _, document in items])
        print(*keys, sep="\\n")
        await client.close()

    task.react(main)
"""
_BLOCKING = """
    import sys
    from pyshard import Pyshard

    with Pyshard(sys.argv[1]) as app:
        keys, items = list(app.keys()), list(app.items())
        found = app.get_many(keys)
        print(app.count(), keys == [key for key, _ in items], found == [document for _, document in items])
        print(*keys, sep="\\n")
"""
_ASYNCIO = """
    import asyncio, sys
    from pyshard.aio import connect

    async def main():
        async with connect(sys.argv[1]) as client:
            keys = [key async for key in client.keys()]
            items = [item async for item in client.items()]
            found = await client.get_many(keys)
            print(await client.count(), keys == [key for key, _ in items], found == [document for _, document in items])
            print(*keys, sep="\\n")

    asyncio.run(main())
"""


@pytest.fixture(params=[pytest.param("memory", marks=pytest.mark.long), "durable"])
def interleaved(new_cluster: NewCluster, request: pytest.FixtureRequest) -> Cluster:
    """A cluster of this layout, ready."""
    made = new_cluster(3, durable=request.param == "durable")
    for shard, ranges in zip(made.config, LAYOUT, strict=True):
        del shard["start"], shard["end"]
        shard["ranges"] = ranges
    made.write_config()
    made.start()
    return made


def documents_in(ranges: list[tuple[float, float]]) -> int:
    """How many of the keys lie in some ranges."""
    return sum(start <= slot_of(key.encode()) / 10**7 < end for key in KEYS for start, end in ranges)


def stat(cluster: Cluster) -> list[dict[str, Any]]:
    """What the shards tell."""
    with Pyshard(cluster.server) as app:
        shards: Any = app.stat()["shards"]
    return list(shards)


def test_every_client(interleaved: Cluster) -> None:
    """Keys come once and in slot order, count is their number, and documents are where the map says."""
    with Pyshard(interleaved.server) as app:
        app.write_many((key, {"of": key}) for key in KEYS)
    shards = stat(interleaved)
    assert [one["documents"] for one in shards] == [documents_in(ranges) for ranges in LAYOUT]
    assert [one["ranges"] for one in shards] == [[list(bounds) for bounds in ranges] for ranges in LAYOUT]
    expected = sorted(KEYS, key=lambda key: (slot_of(key.encode()), key.encode()))
    for code in (_DEFERRED, _BLOCKING, _ASYNCIO):
        done = run(interleaved.folder, interleaved.environment, sys.executable, "-c", dedent(code), interleaved.server)
        assert (done.returncode, done.stderr) == (0, "")
        about, *keys = done.stdout.splitlines()
        assert about == "3000 True True"
        assert keys == expected


@pytest.mark.long
def test_restarts(interleaved: Cluster) -> None:
    """Ranges are the same after a restart of everything; a durable shard serves them without a bootstrap."""
    durable = any("--data-dir=data-a" in word for word in interleaved.shards[0]._command)
    with Pyshard(interleaved.server) as app:
        app.write_many((key, 1) for key in KEYS)
    for daemon in interleaved.daemons:
        daemon.end(signal.SIGKILL if durable else signal.SIGTERM)
    if durable:
        for daemon in interleaved.shards:
            daemon.start()
            daemon.wait_listening()
        with Pyshard(f"127.0.0.1:{interleaved.shards[2].port}") as app:
            assert app.count() == len(KEYS)
    interleaved.start()
    with Pyshard(interleaved.server) as app:
        assert app.count() == (len(KEYS) if durable else 0)
        assert app.write("key 0 ü", 2) == 28
    assert [one["ranges"] for one in stat(interleaved)] == [[list(bounds) for bounds in ranges] for ranges in LAYOUT]


@pytest.mark.long
def test_backup_and_other_configs(interleaved: Cluster, new_cluster: NewCluster) -> None:
    """A backup goes into a cluster of other ranges and back; a config with other ranges changes nothing by itself."""
    with Pyshard(interleaved.server) as app:
        app.write_many((key, {"of": key}) for key in KEYS)
        expected = list(app.items())
    shell = shell_on(interleaved.server, interleaved.environment, interleaved.folder)
    assert shell("pyshard backup saved")[0] == 0
    files = json.loads((interleaved.folder / "saved" / "manifest.json").read_text())["files"]
    assert [(one["shard"], one["documents"]) for one in files] == [
        (name, documents_in(ranges)) for name, ranges in zip("abc", LAYOUT, strict=True)
    ]
    plain = new_cluster(2)
    plain.start()
    other = shell_on(plain.server, plain.environment, plain.folder)
    assert other(f"pyshard restore {interleaved.folder / 'saved'}")[0] == 0
    with Pyshard(plain.server) as app:
        assert list(app.items()) == expected
    code, table, error = shell("pyshard stat")
    assert (code, error) == (0, "")
    assert [line.split()[2:4] for line in table.splitlines()[2:] if line[0] != " "] == [
        ["[0.0,", "0.1)"],
        ["[0.1,", "0.4)"],
        ["none", "0"],
    ]

    interleaved.bootstrap.end()
    interleaved.config[0]["ranges"], interleaved.config[2]["ranges"] = [(0.0, 0.1)], [(0.4, 0.6)]
    interleaved.write_config()
    interleaved.bootstrap.start()
    with Pyshard(interleaved.server) as app:
        assert app.count() == len(KEYS)
    assert [one["ranges"] for one in stat(interleaved)] == [[list(bounds) for bounds in ranges] for ranges in LAYOUT]
    assert "other shards or ranges than the cluster" in interleaved.bootstrap.log()
