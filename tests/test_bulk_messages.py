"""What a program sees when it prints the error of a bulk verb, or of a shard that is full, whichever client it has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from clusters import cluster_of

from pyshard.errors import PartialFailure, PyshardError, ShardFull
from pyshard.testing import MemoryCluster

#: Writes documents, and gives the error.
Writer = Callable[[MemoryCluster, Mapping[str, str]], PyshardError]


def by_deferred_client(cluster: MemoryCluster, documents: Mapping[str, str]) -> PyshardError:
    """See `Writer`."""
    with pytest.raises(PyshardError) as raised:
        cluster.run(cluster.connect().write_many(list(documents.items()), deadline=1))
    return raised.value


def by_blocking_client(cluster: MemoryCluster, documents: Mapping[str, str]) -> PyshardError:
    """See `Writer`."""
    with pytest.raises(PyshardError) as raised:
        cluster.blocking().write_many(list(documents.items()), deadline=1)
    return raised.value


both = pytest.mark.parametrize("write_many", [by_deferred_client, by_blocking_client])
DOCUMENTS = {f"secret {number}": "mystery" * 20 for number in range(300)}


@both
def test_a_shard_that_is_away(write_many: Writer) -> None:
    """How many keys, which shard, why, and what to do; no key, and nothing of a document."""
    with cluster_of("memory") as cluster:
        cluster.kill_shard("shard0")
        error = write_many(cluster, DOCUMENTS)
        assert isinstance(error, PartialFailure)
        assert str(error) == (
            f"{len(error.failed)} of 300 keys failed: {len(error.failed)} with Unavailable (may be asked again later): "
            "bulk write: shard 'shard0' at 127.0.0.1:5050 could not answer before the deadline: connection refused; is "
            "it running, at this address? Start it as before: 'twistd pyshard-shard', with its --data-dir if it had one"
            "; the error's 'failed' has each"
        )
        assert not any("secret" in str(one) for _, one in error.failed)


@both
def test_shards_that_are_full(write_many: Writer) -> None:
    """Each shard is told once, by its name, with its figures and what to do."""
    with cluster_of("memory", size=20_000) as cluster:
        said = str(write_many(cluster, DOCUMENTS))
    each = (
        r"\d+ with ShardFull \(not to be asked again as it is\): shard 'shard%d' at 127\.0\.0\.1:505%d: the shard "
        r"holds [\d,]+ of 20,000 bytes and this write needs \d+ more; remove documents or raise the shard's size"
    )
    first, second = (each % (number, number) for number in range(2))
    several = rf"\d+ of 300 keys failed: ({first}; {second}|{second}; {first}); the error's 'failed' has each"
    assert re.fullmatch(several, said), said


@pytest.mark.parametrize("blocking", [False, True])
def test_one_write(blocking: bool) -> None:
    """A lone write's error names the shard that is full, too."""
    said = r"^shard 'shard\d' at 127\.0\.0\.1:505\d: the shard holds 0 of 200 bytes "
    with cluster_of("memory", size=200) as cluster:
        client, app = cluster.connect(), cluster.blocking()
        with pytest.raises(ShardFull, match=said):
            app.write("a", "x" * 500) if blocking else cluster.run(client.write("a", "x" * 500))
