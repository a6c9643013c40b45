"""The bulk verbs of the Deferred client against a whole cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bulk_cases import failure, owner, small
from clusters import KINDS, cluster_of
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pyshard import Client, Key, Storable
from pyshard.testing import MemoryCluster


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """A cluster of two shards with each kind of store."""
    with cluster_of(request.param) as made:
        yield made


def documents(found: list[Any]) -> list[object]:
    """The documents of records."""
    return [None if one is None else one["record"] for one in found]


# -- what they give --------------------------------------------------------------------------------------------------


def test_each_verb_answers_in_the_order_given(cluster: MemoryCluster, client: Client) -> None:
    """Sizes, records, None and 0 stand where their keys do, over both shards."""
    keys = [f"key {number}" for number in range(1200)]
    pairs = [(key, {"number": number, "text": "x" * (number % 7)}) for number, key in enumerate(keys)]
    sizes = cluster.run(client.write_many(pairs))
    assert sizes == [28 - 4 * (number == 0) + 49 + number % 7 for number in range(1200)]
    assert {owner(cluster, key) for key in keys} == {"shard0", "shard1"}
    asked = ["nothing", *reversed(keys), "nor this"]
    found = cluster.run(client.read_many(asked))
    assert found == [cluster.run(client.read(key)) for key in asked]
    assert documents(found) == [None, *(doc for _, doc in reversed(pairs)), None]
    assert cluster.run(client.has_many(asked)) == [False, *[True] * 1200, False]
    assert cluster.run(client.remove_many(["nothing", *keys[:600]])) == [0, *sizes[:600]]
    assert documents(cluster.run(client.pop_many(keys))) == [*[None] * 600, *(doc for _, doc in pairs[600:])]
    assert cluster.run(client.has_many(keys)) == [False] * 1200


def test_nothing_at_all(cluster: MemoryCluster, client: Client) -> None:
    """No keys, no answers."""
    assert cluster.run(client.write_many([])) == []
    assert cluster.run(client.read_many(iter(()))) == []


def test_pairs_of_all_kinds(cluster: MemoryCluster, client: Client) -> None:
    """A mapping, a generator, and lists for pairs; keys that are numbers; documents of any type."""
    mixed: dict[Key, Storable] = {"a": 1, 2: "two"}
    assert cluster.run(client.write_many(mixed)) == [28, 52]
    assert cluster.run(client.write_many((str(number), None) for number in range(3))) == [16] * 3
    lists: Any = [["l", [1, 2]], (1.5, {})]
    assert cluster.run(client.write_many(lists)) == [56, 0]
    assert documents(cluster.run(client.read_many(("a", "2", 0, "l", 1.5)))) == [1, None, None, [1, 2], {}]


@pytest.mark.parametrize("verb", ["write_many", "add_many"])
def test_one_document_that_is_yielded_again_and_again(cluster: MemoryCluster, client: Client, verb: str) -> None:
    """Each key gets what the document was when it was yielded, over steps and shards."""

    def pairs() -> Iterator[tuple[str, Storable]]:
        flat: dict[str, object] = {}
        nested: dict[str, Any] = {"list": []}
        for number in range(1500):
            flat["n"] = number
            yield f"flat {number}", flat
            nested["list"].append(number)
            yield f"nested {number}", nested
            if len(nested["list"]) == 3:
                nested["list"].clear()

    cluster.run(getattr(client, verb)(pairs()))
    assert documents(cluster.run(client.read_many(f"flat {number}" for number in range(1500)))) == [
        {"n": number} for number in range(1500)
    ]
    assert documents(cluster.run(client.read_many(f"nested {number}" for number in range(1500)))) == [
        {"list": list(range(number - number % 3, number + 1))} for number in range(1500)
    ]


def test_one_key_many_times(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations on one key in one call take effect in their order, over steps and boxes."""
    small(monkeypatch, BULK_STEP=3, BULK_STEP_DURABLE=3)
    cluster.run(client.write_many([("k", number) for number in range(100)]))
    assert documents(cluster.run(client.read_many(["k"] * 5))) == [99] * 5
    popped = documents(cluster.run(client.pop_many(["k"] * 10)))
    assert popped == [99, *[None] * 9]


def test_bulk_verbs_and_single_ones_keep_their_order(cluster: MemoryCluster, client: Client) -> None:
    """What is issued after a bulk verb's only step comes after it, and what was issued before comes before."""
    client.write("k", "first")
    client.write_many([("k", "second"), ("l", "second")])
    read = client.read("k")
    client.write("l", "third")
    many = client.read_many(["k", "l"])
    assert documents([cluster.run(read)]) == ["second"]
    assert documents(cluster.run(many)) == ["second", "third"]


def test_in_a_named_index(cluster: MemoryCluster, client: Client) -> None:
    """An index's bulk verbs touch that index alone."""
    cluster.run(client.create_index("pages"))
    pages = client.index("pages")
    assert cluster.run(pages.write_many({"k": 1, "l": 2})) == [28, 28]
    assert cluster.run(client.read_many(["k", "l"])) == [None, None]
    assert cluster.run(pages.read_many(["k"])) == [cluster.run(pages.read("k"))]
    assert cluster.run(pages.has_many(["k", "m"])) == [True, False]
    assert cluster.run(pages.remove_many(["k"])) == [28]
    assert documents(cluster.run(pages.pop_many(["k", "l"]))) == [None, 2]


def test_time_to_live(cluster: MemoryCluster, client: Client) -> None:
    """What `write_many` writes with a time to live is gone after it."""
    cluster.run(client.write_many({"k": 1, "l": 2}, ttl=30))
    assert cluster.run(client.has_many(["k", "l"])) == [True, True]
    cluster.advance(31)
    assert cluster.run(client.read_many(["k", "l"])) == [None, None]


def test_large_documents(cluster: MemoryCluster, client: Client) -> None:
    """Documents of which a box or an answer takes only few are sent and asked for in as many as it takes."""
    docs = [bytes([number]) * 300_000 for number in range(40)]
    assert cluster.run(client.write_many(enumerate(docs))) == [300_033] * 40
    assert documents(cluster.run(client.read_many(range(40)))) == docs
    assert documents(cluster.run(client.pop_many(range(40)))) == docs


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["write", "read", "pop", "remove", "has"])), max_size=40))
def test_the_same_as_single_verbs(steps: list[tuple[int, str]]) -> None:
    """Bulk verbs do what single verbs do one after the other."""
    with MemoryCluster() as cluster:
        client, plain = cluster.connect(), dict[str, object]()
        for number, (key, verb) in enumerate(steps):
            keys = [f"k{key}", f"k{key + 1}", f"k{key}"]
            before = [plain.get(one) for one in keys]
            if verb == "write":
                cluster.run(client.write_many([(one, number * 10 + place) for place, one in enumerate(keys)]))
                plain |= {one: number * 10 + place for place, one in enumerate(keys)}
            elif verb == "read":
                assert documents(cluster.run(client.read_many(keys))) == before
            elif verb == "has":
                assert cluster.run(client.has_many(keys)) == [one in plain for one in keys]
            elif verb == "pop":
                assert documents(cluster.run(client.pop_many(keys))) == [*before[:2], None]
            else:
                found = cluster.run(client.remove_many(keys))
                assert [bool(one) for one in found] == [keys[0] in plain, keys[1] in plain, False]
            if verb in ("pop", "remove"):
                for one in keys:
                    plain.pop(one, None)


# -- how they go about it --------------------------------------------------------------------------------------------


def test_only_so_much_is_in_flight(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An iterable is read only as far as there is room: with a shard that doesn't answer it isn't read to its end."""
    small(monkeypatch, BULK_STEP=10, BULK_STEP_DURABLE=10, BULK_OPERATIONS=40)
    taken = 0

    def endless() -> Iterator[tuple[str, int]]:
        nonlocal taken
        while True:
            taken += 1
            yield f"key {taken}", taken

    for name in cluster.names:
        cluster.kill_shard(name)
    work = client.write_many(endless())
    cluster.advance(5)
    assert taken == 40
    work.addErrback(lambda _: None)
    work.cancel()
    cluster.advance(20)
    assert taken == 40


def test_bytes_in_flight(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large documents count by their bytes."""
    small(monkeypatch, BULK_BYTES=1_000_000, BOX_BYTES=250_000)
    taken: list[int] = []

    def large() -> Iterator[tuple[int, bytes]]:
        for number in range(100):
            taken.append(number)
            yield number, b"x" * 100_000

    for name in cluster.names:
        cluster.kill_shard(name)
    work = client.write_many(large(), deadline=2)
    cluster.advance(1)
    assert len(taken) <= 500
    assert len(failure(cluster, work).outcomes) == 100


def test_progress(cluster: MemoryCluster, client: Client) -> None:
    """It tells how many keys are done, rising to all of them; those that are refused count."""
    told: list[int] = []
    cluster.run(client.write_many([(number, number) for number in range(2000)], progress=told.append))
    assert told == sorted(told)
    assert told[-1] == 2000
    told.clear()
    failure(cluster, client.has_many([True, 1], progress=told.append))
    assert told[-1] == 2


def test_other_work_goes_on_meanwhile(cluster: MemoryCluster, client: Client) -> None:
    """A long bulk doesn't hold up a single operation: that ends before it does."""
    ended: list[str] = []
    client.write_many([(number, number) for number in range(20_000)]).addCallback(lambda _: ended.append("bulk"))
    client.write("single", 1).addCallback(lambda _: ended.append("single"))
    cluster.advance(60)
    assert ended == ["single", "bulk"]
