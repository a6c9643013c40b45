"""The programs in examples/, run as their readers run them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from subprocess import CompletedProcess

import airportsdata
import pytest
from functional.cluster import HOST, Cluster, run

from pyshard import Pyshard

pytestmark = pytest.mark.functional

_AIRPORTS = Path(__file__).parents[2] / "examples" / "airports.py"


def airports(cluster: Cluster, *arguments: str) -> CompletedProcess[str]:
    """Run examples/airports.py beside a cluster."""
    return run(cluster.folder, cluster.environment, sys.executable, str(_AIRPORTS), *arguments)


def test_airports(cluster: Cluster) -> None:
    """All airports are loaded, read back equal and reported; an index that is there is replaced on demand only."""
    expected = airportsdata.load()
    with Pyshard(cluster.server) as app:
        app.create_index("airports")
        app.write("left over", 1, "airports")

        refused = airports(cluster, cluster.server)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            "airports: there is an index 'airports' already; --replace drops it with all its documents\n"
        )
        assert app.has("left over", "airports")

        done = airports(cluster, cluster.server, "--replace")
        assert (done.returncode, done.stderr) == (0, "")
        wrote, read, *shards = done.stdout.splitlines()
        number = f"{len(expected):,}"
        assert re.fullmatch(rf"wrote {number} airports in \d+\.\d\d s", wrote)
        assert re.fullmatch(rf"read {number} airports in \d+\.\d\d s, all equal", read)
        found = [
            re.fullmatch(r"(\w) at (\S+): ([\d,]+) documents, [\d,]+ of 1,073,741,824 bytes", shard) for shard in shards
        ]
        assert [one and (one[1], one[2]) for one in found] == [
            (shard.name, f"{HOST}:{shard.port}") for shard in cluster.shards
        ]
        assert sum(int(one[3].replace(",", "")) for one in found if one) == len(expected)

        assert not app.has("left over", "airports")
        record = app.read("EDDF", "airports")
        assert record is not None
        assert record["record"] == expected["EDDF"]


def test_airports_at_a_shard(shared: Cluster) -> None:
    """Given a shard's address for the bootstrap's, the example ends with one line and exit code 1."""
    ran = airports(shared, f"{HOST}:{shared.shards[0].port}", "--replace")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"airports: {HOST}:{shared.shards[0].port} is a shard's address")
    assert len(ran.stderr.splitlines()) == 1
