"""What a bulk verb of the Deferred client refuses and how it fails, against a whole cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bulk_cases import failure, owner, small
from clusters import KINDS, cluster_of, outcome

from pyshard import Client
from pyshard.errors import (
    ClientClosed,
    IndexNotFound,
    InvalidArgument,
    InvalidDocument,
    InvalidIndexName,
    InvalidKey,
    OutcomeUnknown,
    PartialFailure,
    PyshardError,
    ShardFull,
    Unavailable,
)
from pyshard.testing import MemoryCluster


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """A cluster of two shards with each kind of store."""
    with cluster_of(request.param) as made:
        yield made


def test_keys_and_documents_that_are_none(cluster: MemoryCluster, client: Client) -> None:
    """Each is refused by itself; the others are done, and every outcome stands with its key."""
    found = failure(cluster, client.write_many([("a", 1), (None, 2), ("b", {1, 2}), ("c", 3)]))  # type: ignore[list-item]
    assert [key for key, _ in found.outcomes] == ["a", None, "b", "c"]
    assert [type(one) for _, one in found.outcomes] == [int, InvalidKey, InvalidDocument, int]
    assert [(key, type(error)) for key, error in found.failed] == [(None, InvalidKey), ("b", InvalidDocument)]
    assert str(found).startswith("2 of 4 keys failed: 1 with InvalidKey (not to be asked again as it is); 1 with Inv")
    assert cluster.run(client.has_many(["a", "b", "c"])) == [True, False, True]
    found = failure(cluster, client.read_many(["a", [], "c"]))  # type: ignore[list-item]
    assert [type(one) for _, one in found.outcomes] == [dict, InvalidKey, dict]
    found = failure(cluster, client.has_many([True]))
    assert [type(one) for _, one in found.outcomes] == [InvalidKey]
    found = failure(cluster, client.has_many([10**5000]))
    assert str(found).startswith("1 of 1 keys failed: 1 with InvalidKey (")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda client: client.write_many(["ab"]), "pairs: found 'ab', expected pairs"),
        (lambda client: client.write_many([("a", 1, 2)]), "pairs: found ('a', 1, 2), expected pairs"),
        (lambda client: client.read_many("abc"), "keys: found one str"),
        (lambda client: client.has_many(b"abc"), "keys: found one bytes"),
        (lambda client: client.read_many(bytearray(b"abc")), "keys: found one bytearray"),
        (lambda client: client.pop_many(7), "keys: found 7, expected a collection of keys"),
        (lambda client: client.remove_many(None), "keys: found None, expected a collection of keys"),
        (lambda client: client.write_many("ab"), "pairs: found one str, expected a collection of pairs"),
        (lambda client: client.write_many(b"ab"), "pairs: found one bytes"),
        (lambda client: client.write_many(("a", "b")), "pairs: found one pair, expected a collection of them"),
        (lambda client: client.write_many(["a", {"b": 1}]), "pairs: found one pair"),
        (lambda client: client.write_many(None), "pairs: found None"),
        (lambda client: client.write_many([("a", 1)], ttl=0), "ttl: found 0"),
        (lambda client: client.write_many([("a", 1)], ttl=10**5000), "ttl: found <int of about 5,001 digits>"),
        (lambda client: client.write_many([("a", 1)], deadline="5"), "deadline: found '5', expected a number"),
        (lambda client: client.has_many(["a"], deadline=0), "deadline: found 0"),
        (lambda client: client.has_many(["a"], progress=3), "progress: found 3, expected a function"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_that_are_none(cluster: MemoryCluster, client: Client, call: Any, message: str) -> None:
    """A mistake in the call itself is said so."""
    found = outcome(cluster, call(client))
    assert type(found) is InvalidArgument
    assert message in str(found)


def test_index_that_is_none(cluster: MemoryCluster, client: Client) -> None:
    """A name that can't be one fails at once; an index that isn't there, key by key."""
    assert type(outcome(cluster, client.read_many(["k"], "a b"))) is InvalidIndexName
    found = failure(cluster, client.write_many({"k": 1, "l": 2}, "nowhere"))
    assert [type(one) for _, one in found.outcomes] == [IndexNotFound] * 2


def test_a_shard_that_is_away(cluster: MemoryCluster, client: Client) -> None:
    """Its keys, and no others, can't be had, and are not taken for missing."""
    keys = [f"key {number}" for number in range(50)]
    cluster.run(client.write_many([(key, 1) for key in keys]))
    cluster.kill_shard("shard0")
    found = failure(cluster, client.read_many(keys, deadline=2))
    for key, one in found.outcomes:
        assert isinstance(one, Unavailable if owner(cluster, key) == "shard0" else dict)
    assert len(found.outcomes) == 50


def test_a_shard_that_is_away_is_not_waited_for_again(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a bulk is, it waits one deadline for a shard that is away; the others' keys are done."""
    small(monkeypatch, BULK_STEP=10, BULK_STEP_DURABLE=10, BULK_OPERATIONS=40)
    cluster.kill_shard("shard0")
    began = cluster.clock.seconds()
    found = failure(cluster, client.write_many([(f"key {number}", 1) for number in range(2000)], deadline=2))
    assert cluster.clock.seconds() - began < 5
    for key, one in found.outcomes:
        assert isinstance(one, Unavailable) if owner(cluster, key) == "shard0" else one == 28
    assert any("it was not sent" in str(error) for _, error in found.failed)


def test_answers_that_are_lost(cluster: MemoryCluster, client: Client) -> None:
    """A change whose answer was lost is unknown; nothing is repeated; a read is asked for again."""
    pairs = [(f"key {number}", number) for number in range(20)]
    cluster.run(client.read_many([key for key, _ in pairs]))
    work = client.write_many(pairs)  # it is on its way
    cluster.kill_shard("shard0")
    cluster.advance(0.2)
    found = failure(cluster, work)
    lost = [key for key, one in found.outcomes if isinstance(one, OutcomeUnknown)]
    assert lost == [key for key, _ in pairs if owner(cluster, key) == "shard0"]
    cluster.start_shard("shard0")
    cluster.advance(2)
    reading = client.read_many([key for key, _ in pairs])
    cluster.kill_shard("shard1")
    cluster.start_shard("shard1")
    assert len(cluster.run(reading)) == 20


def test_a_shard_that_is_full() -> None:
    """What has no room is refused, key by key; what is stored and what was answered agree."""
    with cluster_of("memory", size=20_000) as cluster:
        client = cluster.connect()
        pairs = [(f"key {number}", "x" * 100) for number in range(300)]
        found = failure(cluster, client.write_many(pairs))
        assert {type(one) for _, one in found.outcomes} == {int, ShardFull}
        for name in ("shard0", "shard1"):  # in the order given, so it is the first ones that fit
            kinds = [type(one) for key, one in found.outcomes if owner(cluster, key) == name]
            assert kinds == [int] * kinds.count(int) + [ShardFull] * kinds.count(ShardFull)
            assert 0 < kinds.count(int) < len(kinds)
        there = cluster.run(client.has_many([key for key, _ in pairs]))
        assert there == [one == 149 for _, one in found.outcomes]


def test_after_close(cluster: MemoryCluster, client: Client) -> None:
    """A closed client says so; one that is closed meanwhile leaves no key without an outcome."""
    work = client.write_many([(f"key {number}", 1) for number in range(5000)])
    cluster.run(client.close())
    found = failure(cluster, work)
    assert all(one == 28 or isinstance(one, ClientClosed | OutcomeUnknown) for _, one in found.outcomes)
    assert isinstance(outcome(cluster, client.read_many(["k"])), ClientClosed)


def test_what_the_iterable_raises(cluster: MemoryCluster, client: Client) -> None:
    """It is what the bulk fails with, once what was issued has ended."""

    def broken() -> Iterator[tuple[str, int]]:
        for number in range(1200):
            yield f"key {number}", number
        raise ZeroDivisionError("mine")

    assert type(outcome(cluster, client.write_many(broken()))) is ZeroDivisionError
    assert cluster.run(client.has_many(["key 0", "key 499"])) == [True, True]


def test_what_progress_raises(cluster: MemoryCluster, client: Client) -> None:
    """It ends the bulk."""

    def broken(count: int) -> None:
        raise ZeroDivisionError("mine")

    assert type(outcome(cluster, client.write_many({"k": 1}, progress=broken))) is ZeroDivisionError


def test_partial_failure_is_made_with_a_message_alone() -> None:
    """As every error of pyshard's, so that it could cross the wire."""
    error = PartialFailure("why")
    assert (str(error), error.outcomes, error.failed) == ("why", [], [])
    assert isinstance(error, PyshardError)
