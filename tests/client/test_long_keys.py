"""Many long keys: every verb of every client does them all, in boxes that a daemon takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import attrs
import pytest
from clusters import KINDS, all_of, cluster_of
from twisted.internet.defer import Deferred

from pyshard.errors import InvalidKey, PartialFailure
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.settings import settings
from pyshard.shard import protocol
from pyshard.storage import ITSELF, Sender
from pyshard.testing import MemoryCluster

#: Calls a verb of a client, and gives what it gives.
Call: TypeAlias = Callable[..., Any]


@contextmanager
def deferred(cluster: MemoryCluster) -> Iterator[Call]:
    """The Deferred client."""
    client = cluster.connect()
    yield lambda verb, *arguments: cluster.run(getattr(client, verb)(*arguments))


@contextmanager
def blocking(cluster: MemoryCluster) -> Iterator[Call]:
    """The blocking client."""
    with cluster.blocking() as app:
        yield lambda verb, *arguments: getattr(app, verb)(*arguments)


FACES = [deferred, blocking]


class Boxes:
    """What the boxes have that come to a cluster of one shard.

    :ivar keys: bytes of the keys of each.
    :ivar operations: operations of each.
    """

    def __init__(self, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[int] = []
        self.operations: list[int] = []
        shard = cluster.services["shard0"].shard
        apply = shard.apply

        def noted(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
            self.keys.append(sum(len(key) for run in runs for key in run.keys))
            self.operations.append(sum(len(run.keys) for run in runs))
            return apply(epoch, runs, sender)

        monkeypatch.setattr(shard, "apply", noted)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_bulk_verbs(kind: str, face: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of 24 MB in all, more than a box may have, are done, and no box has so many that a shard puts some off."""
    keys = [f"{number:04}" + "k" * 60_000 for number in range(400)]
    with cluster_of(kind, shards=1) as cluster, face(cluster) as call:
        boxes = Boxes(cluster, monkeypatch)
        assert call("write_many", {key: number for number, key in enumerate(keys, 1)}) == [28] * 400
        assert call("has_many", [*keys, keys[0] + "none"]) == [True] * 400 + [False]
        assert [found["record"] for found in call("read_many", reversed(keys))] == list(range(400, 0, -1))
        assert call("get_many", keys, -1) == list(range(1, 401))
        assert call("remove_many", keys[:100]) == [28] * 100
        assert [found and found["record"] for found in call("pop_many", keys)] == [None] * 100 + list(range(101, 401))
        assert call("has_many", keys) == [False] * 400
        assert max(boxes.keys) <= settings.BOX_BYTES // 2
        assert min(boxes.operations) >= 4  # as eight fit


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_largest_documents_of_long_keys(face: Callable[..., Any]) -> None:
    """A box that is almost full of keys and documents has room for the largest document besides."""
    most = settings.MAX_DOCUMENT_BYTES - 5  # MessagePack's head of long binaries
    keys = [f"{number}" + "k" * (settings.MAX_KEY_BYTES - 1) for number in range(8)]
    sizes = [149_000] * 7 + [most]
    with cluster_of("memory", shards=1) as cluster, face(cluster) as call:
        call("write_many", [(key, b"d" * size) for key, size in zip(keys, sizes, strict=True)])
        assert [len(found) for found in call("get_many", keys)] == sizes


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_keys_that_are_refused_among_them(face: Callable[..., Any]) -> None:
    """Each outcome stands where its key does, also where keys that can't be sent are among long ones."""
    keys: list[Any] = [f"{number:04}" + "k" * 60_000 for number in range(40)]
    keys[3] = keys[37] = "k" * (settings.MAX_KEY_BYTES + 1)
    with cluster_of("memory", shards=1) as cluster, face(cluster) as call:
        for verb, given in (("write_many", [(key, number) for number, key in enumerate(keys)]), ("has_many", keys)):
            with pytest.raises(PartialFailure) as caught:
                call(verb, given)
            outcomes = caught.value.outcomes
            assert [place for place, (_, one) in enumerate(outcomes) if isinstance(one, InvalidKey)] == [3, 37]
            assert [key for key, _ in outcomes] == keys
        assert call("get_many", [keys[number] for number in range(40) if number not in (3, 37)]) == [
            number for number in range(40) if number not in (3, 37)
        ]


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [1, 100, 1000])
def test_bulk_verbs_ask_again(kind: str, face: Callable[..., Any], most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a shard puts off what is past its bound, everything is done, also if each key alone is past it."""
    monkeypatch.setattr(protocol, "settings", attrs.evolve(settings, BATCH_KEY_BYTES=most))
    keys = [f"{number:03}" + "k" * 600 for number in range(60)]
    with cluster_of(kind) as cluster, face(cluster) as call:
        boxes = Boxes(cluster, monkeypatch)
        assert call("write_many", {key: number for number, key in enumerate(keys, 1)}) == [28] * 60
        assert call("has_many", keys) == [True] * 60
        assert call("get_many", keys, -1) == list(range(1, 61))
        assert call("remove_many", keys[:20]) == [28] * 20
        assert [found and found["record"] for found in call("pop_many", keys)] == [None] * 20 + list(range(21, 61))
        assert max(boxes.operations) == (2 if most == 1000 else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_single_verbs_ask_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is for single operations that travel together, each of which is done once."""
    monkeypatch.setattr(protocol, "settings", attrs.evolve(settings, BATCH_KEY_BYTES=1000))
    keys = [f"{number:03}" + "k" * 600 for number in range(60)]
    with cluster_of(kind) as cluster:
        client = cluster.connect()
        boxes = Boxes(cluster, monkeypatch)
        assert all_of(cluster, [client.write(key, 1) for key in keys]) == [28] * 60
        assert all_of(cluster, [client.increment(key) for key in keys]) == [2] * 60
        assert all_of(cluster, [client.touch(key, 60) for key in keys]) == [True] * 60
        found = all_of(cluster, [client.item(key) for key in keys])
        assert [item["record"] for item in found] == [2] * 60
        assert all_of(cluster, [client.write(key, 1, if_absent=True) for key in keys]) == [False] * 60
        assert all_of(cluster, [client.has(key) for key in keys]) == [True] * 60
        assert max(boxes.operations) == 2
