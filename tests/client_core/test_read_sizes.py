"""How many documents a bulk read asks a shard for at once."""

from __future__ import annotations

import pytest
from clusters import cluster_of

from pyshard.blocking import Pyshard
from pyshard.client_core import bulk_input
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.bulk_outcomes import SliceInFlight
from pyshard.client_core.read_sizes import ReadSizes
from pyshard.model.shard_map import MapShard
from pyshard.protocol.batch_operations import Has, Read, Run
from pyshard.settings import settings


def answered(run: Run, size: int) -> BulkOperation:
    """A part whose answer had so many bytes."""
    [bulk_slice] = bulk_input.on_keys(Read, ["key"], "", 1)
    receiver = SliceInFlight(bulk_slice, lambda _part, _kinds: None)
    part = BulkOperation(run, [0] * len(run.keys), range(len(run.keys)), 1.0, receiver)
    part.answer_bytes = size
    return part


def test_sizes() -> None:
    """The last answer of an index counts; what isn't answered, or reads no documents, doesn't."""
    sizes = ReadSizes()
    assert sizes.fitting("pages") is None
    sizes.note(answered(Read("pages", [b"a", b"b"]), 2 * settings.ANSWER_BYTES // 100))
    assert sizes.fitting("pages") == 80
    assert sizes.fitting("") is None
    sizes.note(answered(Read("pages", [b"a"]), 0))
    sizes.note(answered(Has("pages", [b"a"]), 10))
    assert sizes.fitting("pages") == 80
    sizes.note(answered(Read("pages", [b"a"]), 5 * settings.ANSWER_BYTES))
    assert sizes.fitting("pages") == 1


@pytest.mark.parametrize(("fitting", "expected"), [(None, 1000), (10_000, 1000), (100, 200), (1, 2)])
def test_steps(fitting: int | None, expected: int) -> None:
    """Each of two shards is asked for no more than an answer takes."""
    ranges = [MapShard(str(number), ((0, 1),), 1, "host", 1) for number in range(2)]
    assert bulk_input.slice_size(ranges, changes=False, fitting=fitting) == expected
    assert bulk_input.slice_size(ranges, changes=True, fitting=fitting) == 2 * settings.BULK_STEP


@pytest.mark.parametrize("blocking", [False, True])
def test_large_documents(blocking: bool) -> None:
    """The second read of large documents asks shards for nothing twice."""
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        keys = [str(number) for number in range(1000)]
        cluster.run(client.write_many([(key, "x" * 10_000) for key in keys]))
        app: Pyshard | None = cluster.blocking() if blocking else None
        asked = []
        for _ in range(2):
            before = sum(service.shard.operations for service in cluster.services.values())
            found = cluster.run(client.read_many(keys)) if app is None else app.read_many(keys)
            assert [one is not None and one["record"] == "x" * 10_000 for one in found] == [True] * 1000
            asked.append(sum(service.shard.operations for service in cluster.services.values()) - before)
        assert asked[0] > 1000
        assert asked[1] == 1000
