"""The bulk verbs of the Deferred client against a whole cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from clusters import KINDS, cluster_of, outcome
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from pyshard import Client, Key, Storable
from pyshard.client import bulk, router
from pyshard.client_core import bulk_input
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
from pyshard.model.key_slots import slot_of
from pyshard.settings import settings
from pyshard.testing import MemoryCluster


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """A cluster of two shards with each kind of store."""
    with cluster_of(request.param) as made:
        yield made


def owner(cluster: MemoryCluster, key: object) -> str:
    """The shard of a key."""
    return cluster.map.lookup(slot_of(str(key).encode())).name


def failure(cluster: MemoryCluster, work: Deferred[Any]) -> PartialFailure:
    """The failure that a bulk verb ends with."""
    found = outcome(cluster, work)
    assert isinstance(found, PartialFailure), found
    return found


def small(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Have bulk verbs go by other limits."""
    for module in (bulk, bulk_input, router):
        monkeypatch.setattr(module, "settings", attrs.evolve(settings, **changed))


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


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_keys_and_documents_that_are_none(cluster: MemoryCluster, client: Client) -> None:
    """Each is refused by itself; the others are done, and every outcome stands with its key."""
    found = failure(cluster, client.write_many([("a", 1), (None, 2), ("b", {1, 2}), ("c", 3)]))  # type: ignore[list-item]
    assert [key for key, _ in found.outcomes] == ["a", None, "b", "c"]
    assert [type(one) for _, one in found.outcomes] == [int, InvalidKey, InvalidDocument, int]
    assert [(key, type(error)) for key, error in found.failed] == [(None, InvalidKey), ("b", InvalidDocument)]
    assert str(found).startswith("2 of 4 keys failed; the first, None: InvalidKey: ")
    assert cluster.run(client.has_many(["a", "b", "c"])) == [True, False, True]
    found = failure(cluster, client.read_many(["a", [], "c"]))  # type: ignore[list-item]
    assert [type(one) for _, one in found.outcomes] == [dict, InvalidKey, dict]
    found = failure(cluster, client.has_many([True]))
    assert [type(one) for _, one in found.outcomes] == [InvalidKey]
    found = failure(cluster, client.has_many([10**5000]))
    assert str(found).startswith("1 of 1 keys failed; the first, <int>: InvalidKey: ")


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


def test_other_work_goes_on_meanwhile(cluster: MemoryCluster, client: Client) -> None:
    """A long bulk doesn't hold up a single operation: that ends before it does."""
    ended: list[str] = []
    client.write_many([(number, number) for number in range(20_000)]).addCallback(lambda _: ended.append("bulk"))
    client.write("single", 1).addCallback(lambda _: ended.append("single"))
    cluster.advance(60)
    assert ended == ["single", "bulk"]


def test_partial_failure_is_made_with_a_message_alone() -> None:
    """As every error of pyshard's, so that it could cross the wire."""
    error = PartialFailure("why")
    assert (str(error), error.outcomes, error.failed) == ("why", [], [])
    assert isinstance(error, PyshardError)
