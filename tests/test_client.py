"""The Deferred client against a whole cluster in memory: what each verb does, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs
import pytest
from clusters import keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from pyshard import Client, connect
from pyshard.batch import Answer, Run
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.client import queue
from pyshard.documents import Document
from pyshard.errors import (
    ClientClosed,
    ConfigError,
    DocumentTooLarge,
    IndexExists,
    IndexNotFound,
    InvalidDocument,
    InvalidIndexName,
    InvalidKey,
    OutcomeUnknown,
    Overloaded,
    ShardFull,
    Unavailable,
)
from pyshard.hashing import SLOTS, slot_of
from pyshard.settings import settings
from pyshard.testing import MemoryCluster, MemoryNetwork


def boxes_of(monkeypatch: pytest.MonkeyPatch, cluster: MemoryCluster) -> list[tuple[str, int]]:
    """A list that gets (shard, number of operations) for each box that reaches a shard."""
    boxes: list[tuple[str, int]] = []
    for name, service in cluster.services.items():

        def apply(
            epoch: int, runs: Sequence[Run], name: str = name, apply: Callable[..., Any] = service.shard.apply
        ) -> Deferred[list[Answer]]:
            boxes.append((name, sum(len(run.keys) for run in runs)))
            answers: Deferred[list[Answer]] = apply(epoch, runs)
            return answers

        monkeypatch.setattr(service.shard, "apply", apply)
    return boxes


# ---------------------------------------------------------------------- verbs


def test_a_document_from_write_to_remove(cluster: MemoryCluster, client: Client) -> None:
    """Every verb on one key: sizes in the seed's measure, hashes in [0, 1), None and 0 for what isn't there."""
    run = cluster.run
    assert run(client.read("test")) is None
    assert run(client.has("test")) is False
    assert run(client.pop("test")) is None
    assert run(client.remove("test")) == 0
    assert run(client.write("test", "hello world")) == 60
    assert run(client.has("test")) is True
    assert run(client.read("test")) == {"hash_": 0.1671936, "record": "hello world"}
    assert run(client.write("test", {"hello": "world"})) == 54
    assert run(client.read("test")) == {"hash_": 0.1671936, "record": {"hello": "world"}}
    assert run(client.remove("test")) == 54
    assert run(client.read("test")) is None
    assert run(client.write("test1", 1)) == 28
    assert run(client.pop("test1")) == {"hash_": 0.8204544, "record": 1}
    assert run(client.has("test1")) is False


def test_if_absent_keeps_what_is_there(cluster: MemoryCluster, client: Client) -> None:
    """`if_absent` writes where nothing is and gives the size; where something is, it writes nothing and gives 0."""
    assert cluster.run(client.write("k", "first", if_absent=True)) == 54
    assert cluster.run(client.write("k", "second", if_absent=True)) == 0
    assert cluster.run(client.read("k")) == {"hash_": slot_of(b"k") / SLOTS, "record": "first"}


def test_nothing_is_taken_for_missing_because_it_is_empty(cluster: MemoryCluster, client: Client) -> None:
    """None, 0, False, "" and {} are documents like all others; an empty dict's size is 0."""
    empty: list[Document] = [None, 0, False, "", b"", [], {}, 0.0]
    for number, document in enumerate(empty):
        cluster.run(client.write(number, document))
        found = cluster.run(client.read(number))
        assert found is not None
        assert (found["record"], type(found["record"])) == (document, type(document))
    assert cluster.run(client.write("empty", {})) == 0
    assert cluster.run(client.has("empty")) is True


@pytest.mark.parametrize(("one", "same"), [(1, "1"), (1.5, "1.5"), (-7, "-7"), (1e300, "1e+300"), (2.0, "2.0")])
def test_a_key_is_its_text(cluster: MemoryCluster, client: Client, one: float, same: str) -> None:
    """A number and its text are one key; numbers whose texts differ are two."""
    cluster.run(client.write(one, "here"))
    assert cluster.run(client.read(same)) == {"hash_": slot_of(same.encode()) / SLOTS, "record": "here"}
    cluster.run(client.write(same, "there"))
    found = cluster.run(client.pop(one))
    assert found is not None
    assert found["record"] == "there"
    assert cluster.run(client.has(same)) is False


def test_an_index_handle_has_the_same_verbs(cluster: MemoryCluster, client: Client) -> None:
    """A handle's verbs act on its index and on no other."""
    run, pages = cluster.run, client.index("pages")
    assert pages.name == "pages"
    run(pages.create())
    run(client.write("k", "default"))
    assert run(pages.read("k")) is None
    assert run(pages.write("k", "page")) == 53
    assert run(pages.write("k", "other", if_absent=True)) == 0
    assert run(pages.has("k")) is True
    assert run(pages.read("k")) == {"hash_": slot_of(b"k", b"pages") / SLOTS, "record": "page"}
    assert run(client.read("k", "pages")) == run(pages.read("k"))
    assert run(pages.keys().next_page()) == ["k"]
    assert run(pages.pop("k")) == {"hash_": slot_of(b"k", b"pages") / SLOTS, "record": "page"}
    run(pages.write("k", 1))
    assert run(pages.remove("k")) == 28
    assert run(pages.has("k")) is False
    assert run(client.read("k")) == {"hash_": slot_of(b"k") / SLOTS, "record": "default"}
    run(pages.drop())
    assert run(client.indexes()) == []


# ---------------------------------------------------------------------- refused before anything is sent

VERBS: list[Callable[[Client, Any, str | None], Deferred[Any]]] = [
    lambda client, key, index: client.write(key, 1, index),
    lambda client, key, index: client.write(key, 1, index, if_absent=True),
    lambda client, key, index: client.read(key, index),
    lambda client, key, index: client.pop(key, index),
    lambda client, key, index: client.remove(key, index),
    lambda client, key, index: client.has(key, index),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("key", [None, True, b"bytes", ["list"], "\ud800", "x" * 65_537])
def test_a_key_that_is_none_is_refused(
    cluster: MemoryCluster,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[Client, Any, str | None], Deferred[Any]],
    key: object,
) -> None:
    """Each verb fails with `InvalidKey` for what can be no key, and no box is sent."""
    boxes = boxes_of(monkeypatch, cluster)
    outcome = watch(verb(client, key, None))
    cluster.advance(1)
    assert kinds([outcome]) == [[InvalidKey]]
    assert boxes == []


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("index", ["", "a b", "a:b", "x" * 101, 7])
def test_an_index_name_that_is_none_is_refused(
    cluster: MemoryCluster,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[Client, Any, str | None], Deferred[Any]],
    index: Any,
) -> None:
    """Each verb fails with `InvalidIndexName` for what can be no name, and no box is sent."""
    boxes = boxes_of(monkeypatch, cluster)
    outcome = watch(verb(client, "k", index))
    cluster.advance(1)
    assert kinds([outcome]) == [[InvalidIndexName]]
    assert boxes == []


def test_handles_and_scans_refuse_a_bad_index_name_at_once(client: Client) -> None:
    """Where no Deferred comes back, the error is raised."""
    with pytest.raises(InvalidIndexName):
        client.index("a b")
    with pytest.raises(InvalidIndexName):
        client.keys("a b")


@pytest.mark.parametrize("name", ["", "a b", "x" * 101])
def test_an_index_with_a_bad_name_is_not_created(cluster: MemoryCluster, client: Client, name: str) -> None:
    """`create_index` and `drop_index` fail with `InvalidIndexName`, and the cluster stays as it was."""
    before = cluster.state
    outcomes = [watch(client.create_index(name)), watch(client.drop_index(name))]
    cluster.advance(1)
    assert kinds(outcomes) == [[InvalidIndexName]] * 2
    assert cluster.state == before


@pytest.mark.parametrize("document", [{1, 2}, object(), {1: 2}, "\ud800", [{"a": (1, {2})}]])
def test_a_document_that_is_none_is_refused(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch, document: Any
) -> None:
    """`write` fails with `InvalidDocument` for what can't be stored, and no box is sent."""
    boxes = boxes_of(monkeypatch, cluster)
    outcome = watch(client.write("k", document))
    cluster.advance(1)
    assert kinds([outcome]) == [[InvalidDocument]]
    assert boxes == []


# ---------------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", [65_530, 65_535, 65_536, 131_070, 131_071, 1_000_000])
def test_documents_past_what_an_amp_value_holds(cluster: MemoryCluster, client: Client, size: int) -> None:
    """Documents around and past 65,535 bytes come back as they were written."""
    document = Random(size).randbytes(size)
    assert cluster.run(client.write("k", document)) == 33 + size
    found = cluster.run(client.read("k"))
    assert found is not None
    assert found["record"] == document
    assert cluster.run(client.remove("k")) == 33 + size


def test_the_largest_document_and_one_byte_more(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document of exactly MAX_DOCUMENT_BYTES, under the longest key, is kept; one byte more is never sent."""
    key, most = "k" * settings.MAX_KEY_BYTES, settings.MAX_DOCUMENT_BYTES - 5  # MessagePack's head of long binaries
    document = b"x" * most
    assert cluster.run(client.write(key, document)) == 33 + most
    found = cluster.run(client.read(key))
    assert found is not None
    assert found["record"] == document
    boxes = boxes_of(monkeypatch, cluster)
    outcome = watch(client.write(key, document + b"x"))
    cluster.advance(1)
    assert kinds([outcome]) == [[DocumentTooLarge]]
    assert boxes == []
    assert cluster.run(client.remove(key)) == 33 + most


def test_many_large_reads_of_one_turn_all_come(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads whose answers together pass ANSWER_BYTES many times over are all answered, each with its own document."""
    documents = {key: key.encode() * 40_000 for key in keys_on(cluster, "shard0", 30)}
    for key, document in documents.items():
        cluster.run(client.write(key, document))
    boxes = boxes_of(monkeypatch, cluster)
    order: list[str] = []

    def read(key: str) -> Deferred[Any]:
        def came(record: Any) -> Any:
            order.append(key)
            return record

        return client.read(key).addCallback(came)

    found = cluster.run(gatherResults([read(key) for key in documents]))
    assert [one["record"] for one in found] == list(documents.values())
    assert order == list(documents)
    assert boxes[0] == ("shard0", 30)
    assert 5 <= len(boxes) < 30


def test_many_large_pops_of_one_turn_each_happen_once(cluster: MemoryCluster, client: Client) -> None:
    """Pops that found no room in an answer go out again and give the document, once; changes behind them wait."""
    documents = {key: key.encode() * 40_000 for key in keys_on(cluster, "shard0", 20)}
    for key, document in documents.items():
        cluster.run(client.write(key, document))
    popped = [client.pop(key) for key in documents]
    written = [client.write(key, "new") for key in documents]
    again = [client.pop(key) for key in documents]
    assert [one and one["record"] for one in cluster.run(gatherResults(popped))] == list(documents.values())
    assert cluster.run(gatherResults(written)) == [52] * len(documents)
    assert [one and one["record"] for one in cluster.run(gatherResults(again))] == ["new"] * len(documents)


def test_a_full_shard_refuses_and_keeps_what_it_has() -> None:
    """A write past the limit fails with `ShardFull` alone; what is there stays, and removing makes room."""
    with MemoryCluster(1, size=1000) as cluster:
        client = cluster.connect()
        outcomes = [watch(client.write(key, b"x" * 300)) for key in "abcd"]
        cluster.advance(1)
        assert kinds(outcomes) == [[int], [int], [ShardFull], [ShardFull]]
        assert cluster.run(client.has("a")) is True
        assert cluster.run(client.write("a", b"y" * 300)) == 333
        assert cluster.run(client.remove("b")) == 333
        assert cluster.run(client.write("c", b"x" * 300)) == 333
        assert cluster.run(client.keys().next_page()) == sorted(["a", "c"], key=lambda key: slot_of(key.encode()))


# ---------------------------------------------------------------------- boxes


def test_calls_of_one_turn_share_a_box(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is issued in one turn of the reactor travels in one box a shard, whatever the verbs; it costs no time."""
    boxes = boxes_of(monkeypatch, cluster)
    began = cluster.clock.seconds()
    keys = [*keys_on(cluster, "shard0", 300), *keys_on(cluster, "shard1", 500)]
    work = [client.write(key, number) for number, key in enumerate(keys)]
    sizes = cluster.run(gatherResults(work))
    assert sizes == [24 + 4 * (number > 0) for number in range(800)]
    assert sorted(boxes) == [("shard0", 300), ("shard1", 500)]
    assert cluster.clock.seconds() == began


def test_a_lone_call_is_not_delayed(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single call leaves in a box of its own in the same turn: no time passes until its answer."""
    boxes = boxes_of(monkeypatch, cluster)
    began = cluster.clock.seconds()
    for _ in range(3):
        assert cluster.run(client.has("test")) is False
    assert boxes == [("shard0", 1)] * 3
    assert cluster.clock.seconds() == began


def test_only_so_many_boxes_are_in_flight(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that doesn't answer gets no more than BOXES_IN_FLIGHT boxes of a client; the others wait."""
    cluster.run(client.has("test"))
    shard, held = cluster.services["shard0"].shard, list[Callable[[], object]]()
    apply = shard.apply

    def slow(epoch: int, runs: Sequence[Run]) -> Deferred[list[Answer]]:
        answer: Deferred[list[Answer]] = Deferred()
        held.append(lambda: apply(epoch, runs).chainDeferred(answer))
        return answer

    monkeypatch.setattr(shard, "apply", slow)
    monkeypatch.setattr(queue, "settings", attrs.evolve(settings, BOX_OPERATIONS=10))
    work = gatherResults([client.write(key, 1) for key in keys_on(cluster, "shard0", 95)])
    seen = []
    cluster.advance(0)
    while held:
        seen.append(len(held))
        held.pop(0)()
        cluster.advance(0)
    assert max(seen) == settings.BOXES_IN_FLIGHT
    assert len(seen) == 10
    assert cluster.run(work) == [28] * 95


def test_too_much_for_one_shard_is_refused_at_once(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would wait past MAX_WAITING fails with `Overloaded`; the other shard's operations go on."""
    monkeypatch.setattr(queue, "settings", attrs.evolve(settings, MAX_WAITING=50))
    cluster.kill_shard("shard0")
    waiting = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard0", 60)]
    other = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard1", 40)]
    cluster.advance(0.01)
    assert kinds(waiting) == [[]] * 50 + [[Overloaded]] * 10
    assert other == [[28]] * 40
    cluster.advance(10)
    assert kinds(waiting) == [[Unavailable]] * 50 + [[Overloaded]] * 10


def test_an_outage_does_not_fill_the_queue(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operations that ended at their deadline make room: a long outage gives `Unavailable`, never `Overloaded`."""
    monkeypatch.setattr(queue, "settings", attrs.evolve(settings, MAX_WAITING=50))
    cluster.kill_shard("shard0")
    outcomes = []
    for key in keys_on(cluster, "shard0", 300):
        outcomes.append(watch(client.write(key, 1, deadline=1)))
        cluster.advance(0.025)
    cluster.advance(1)
    assert kinds(outcomes) == [[Unavailable]] * 300


# ---------------------------------------------------------------------- indexes


def test_indexes_come_and_go(cluster: MemoryCluster, client: Client) -> None:
    """Indexes are created once, listed in order, dropped once; another client sees the same."""
    run, other = cluster.run, cluster.connect()
    assert run(client.indexes()) == []
    run(client.create_index("b"))
    run(client.create_index("a"))
    assert run(client.indexes()) == run(other.indexes()) == ["a", "b"]
    with pytest.raises(IndexExists):
        run(other.create_index("a"))
    run(other.drop_index("b"))
    with pytest.raises(IndexNotFound):
        run(client.drop_index("b"))
    assert run(client.indexes()) == ["a"]


def test_an_index_that_another_client_created_is_used_right_now(cluster: MemoryCluster, client: Client) -> None:
    """What one client creates, another one, whose map is older, uses at once, without an error or a wait."""
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    began = cluster.clock.seconds()
    for key in range(20):
        assert cluster.run(other.write(key, "x", "pages")) == 50
    page = cluster.run(other.keys("pages").next_page())
    assert len(page) == cluster.services["shard0"].shard.store.documents > 0
    assert cluster.clock.seconds() == began


@pytest.mark.parametrize("who", ["dropper", "another"])
def test_a_dropped_index_is_not_found(cluster: MemoryCluster, client: Client, who: str) -> None:
    """After a drop every verb fails with `IndexNotFound`, soon, for the client that dropped it and for others."""
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    cluster.run(other.write("k", 1, "pages"))
    cluster.run(client.drop_index("pages"))
    cluster.advance(5)
    user, began = {"dropper": client, "another": other}[who], cluster.clock.seconds()
    outcomes = [watch(verb(user, "k", "pages")) for verb in VERBS]
    cluster.run(gatherResults([user.has(key) for key in range(10)]))
    cluster.advance(0.5)
    assert kinds(outcomes) == [[IndexNotFound]] * len(VERBS)
    with pytest.raises(IndexNotFound, match="create_index"):
        cluster.run(user.keys("pages").next_page())
    assert cluster.clock.seconds() < began + 1


def test_an_index_that_never_was_is_not_found(cluster: MemoryCluster, client: Client) -> None:
    """An unknown index is an error, not None or 0, and no such error is taken for final before a map was fetched."""
    cluster.advance(100)
    began = cluster.clock.seconds()
    with pytest.raises(IndexNotFound):
        cluster.run(client.read("k", "pages"))
    assert cluster.clock.seconds() < began + 1


def test_an_index_created_anew_is_empty(cluster: MemoryCluster, client: Client) -> None:
    """Dropping an index drops its documents: an index of the same name begins empty."""
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    cluster.run(gatherResults([client.write(key, "old", "pages") for key in range(50)]))
    cluster.run(client.write("kept", 1))
    cluster.run(client.drop_index("pages"))
    cluster.run(client.create_index("pages"))
    assert cluster.run(gatherResults([other.has(key, "pages") for key in range(50)])) == [False] * 50
    assert cluster.run(other.keys("pages").next_page()) == []
    assert cluster.run(other.has("kept")) is True


def test_an_index_is_created_though_the_map_cannot_be_fetched_after(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Unavailable` means that nothing was changed: `create_index` doesn't fail with it once the index is there."""
    forgetful = [False]
    get_map = BootstrapProtocol.get_map
    monkeypatch.setattr(
        BootstrapProtocol, "get_map", lambda self: Deferred() if forgetful[0] else get_map(self)
    )  # never answers, when told so
    client = cluster.connect()
    forgetful[0] = True
    outcome = watch(client.create_index("pages", deadline=3))
    cluster.advance(3)
    assert outcome == [None]
    assert dict(cluster.state.indexes) == {"pages": 1}
    assert cluster.run(client.write("k", 1, "pages")) == 28


# ---------------------------------------------------------------------- the cluster's state


def test_stat_tells_of_every_shard(cluster: MemoryCluster, client: Client) -> None:
    """`stat` has one dict for each shard, in slot order, with what it holds."""
    cluster.run(gatherResults([client.write(key, 1) for key in range(100)]))
    cluster.run(client.create_index("pages"))
    stat = cluster.run(client.stat())
    shards = stat.pop("shards")
    assert stat == {"cluster": cluster.state.cluster, "epoch": cluster.state.epoch, "indexes": ["pages"]}
    assert isinstance(shards, list)
    assert [one["name"] for one in shards] == ["shard0", "shard1"]
    assert [one["range"] for one in shards] == [[0.0, 0.5], [0.5, 1.0]]
    assert sum(one["documents"] for one in shards) == 100
    assert all(one["epoch"] == cluster.state.epoch for one in shards)
    assert all("error" not in one for one in shards)


def test_stat_says_which_shard_cannot_be_reached(cluster: MemoryCluster, client: Client) -> None:
    """A shard that is away has its place in `stat`, with the reason; the others' figures come."""
    cluster.kill_shard("shard1")
    stat = cluster.run(client.stat(deadline=2))
    assert isinstance(stat["shards"], list)
    here, away = stat["shards"]
    assert here["documents"] == 0
    assert "error" not in here
    assert "gave no answer within 2 s: connection refused" in away.pop("error")
    own = cluster.state.map.ranges[1]
    assert away == {"name": "shard1", "address": own.address, "range": [0.5, 1.0], "limit": own.limit}


def test_readiness_is_the_bootstraps_view(cluster: MemoryCluster, client: Client) -> None:
    """`readiness` names each shard's state, and says why one isn't ready."""
    ready = cluster.run(client.readiness())
    assert [(one["name"], one["state"], one["detail"]) for one in ready] == [
        ("shard0", "ready", ""),
        ("shard1", "ready", ""),
    ]
    cluster.kill_shard("shard0")
    cluster.advance(1)
    assert [one["state"] for one in cluster.run(client.readiness())] == ["unreachable", "ready"]


# ---------------------------------------------------------------------- connect and close


@pytest.mark.parametrize("server", ["", "nowhere", ["localhost"], ["localhost", 0], ["localhost", "9192"], 7])
def test_connect_refuses_what_is_no_address(server: Any) -> None:
    """An address that can't be used fails with `ConfigError`, in the Deferred."""
    outcome = watch(connect(Clock(), server))
    assert kinds([outcome]) == [[ConfigError]]


def test_connect_needs_a_bootstrap_within_the_deadline() -> None:
    """Without a bootstrap `connect` fails with `Unavailable` at its deadline, says why, and leaves nothing behind."""
    clock = Clock()
    network = MemoryNetwork(clock)
    outcome = watch(connect(clock, ["nowhere", 1234], deadline=3, dial=network.dial))
    network.advance(2.999)
    assert outcome == []
    network.advance(0.001)
    assert kinds([outcome]) == [[Unavailable]]
    assert "nowhere:1234" in str(outcome[0])
    assert "connection refused" in str(outcome[0])
    network.advance(1)
    assert clock.getDelayedCalls() == []


def test_connect_waits_for_a_bootstrap_that_comes_late(cluster: MemoryCluster) -> None:
    """A bootstrap that starts within the deadline is found soon after."""
    cluster.stop_bootstrap()
    outcome = watch(connect(cluster.clock, dial=cluster.network.dial, random=Random(1)))
    cluster.advance(5)
    assert outcome == []
    cluster.start_bootstrap()
    cluster.advance(1.5)
    assert kinds([outcome]) == [[Client]]
    assert isinstance(outcome[0], Client)
    outcome[0].close()
    cluster.advance(1)


def test_close_ends_every_operation(cluster: MemoryCluster, client: Client) -> None:
    """On close what waits and what reads fails with `ClientClosed`; a change that was sent is `OutcomeUnknown`."""
    cluster.run(client.has("test"))
    cluster.network.silence("127.0.0.1", 5050)
    cluster.kill_shard("shard1")
    first, second = keys_on(cluster, "shard0", 2)
    read, write = watch(client.read(first)), watch(client.write(second, 1))
    cluster.advance(0)
    blocked, away = watch(client.write(first, 1)), watch(client.write("test1", 1))
    scan, ready = watch(client.keys().next_page()), watch(client.readiness())
    cluster.advance(0.5)
    assert kinds([read, write, blocked, away, scan, ready]) == [[], [], [], [], [], [list]]
    closed = watch(client.close())
    assert kinds([read, blocked, away, scan]) == [[ClientClosed]] * 4
    assert kinds([write]) == [[OutcomeUnknown]]
    cluster.advance(1)
    assert closed == [None]
    cluster.run(client.close())


def test_a_closed_client_says_so(cluster: MemoryCluster, client: Client) -> None:
    """After close every verb fails with `ClientClosed`."""
    cluster.run(client.close())
    outcomes: list[list[Any]] = [watch(verb(client, "k", None)) for verb in VERBS]
    outcomes += [
        watch(client.create_index("a")),
        watch(client.drop_index("a")),
        watch(client.indexes()),
        watch(client.stat()),
        watch(client.readiness()),
        watch(client.keys().next_page()),
    ]
    cluster.advance(1)
    assert kinds(outcomes) == [[ClientClosed]] * len(outcomes)


def test_a_closed_client_leaves_nothing_behind() -> None:
    """No timer and no connection outlives close, even after failures; neither at the client nor at the shards."""
    with MemoryCluster() as cluster:
        before = len(cluster.clock.getDelayedCalls())
        client = cluster.connect()
        cluster.kill_shard("shard1")
        outcomes = [watch(client.write(key, 1)) for key in range(20)]
        cluster.advance(0.5)
        cluster.run(client.close())
        assert {type(outcome[0]) for outcome in outcomes} == {int, ClientClosed}
        assert cluster.services["shard0"].shard.store.documents == kinds(outcomes).count([int])
        cluster.start_shard("shard1")
        cluster.advance(2)
        assert len(cluster.clock.getDelayedCalls()) == before


def test_an_operation_may_follow_from_an_answer(cluster: MemoryCluster, client: Client) -> None:
    """A callback may issue operations, and close the client."""

    async def work() -> list[Any]:
        await client.write("test", 1)
        found = await client.read("test")
        assert found is not None
        await client.write("test1", [found["hash_"], found["record"]])
        popped = await client.pop("test1")
        await client.close()
        return [popped]

    assert cluster.run(work()) == [{"hash_": 0.8204544, "record": [0.1671936, 1]}]


def test_an_operations_own_deadline_counts(cluster: MemoryCluster) -> None:
    """A deadline given with a verb replaces the client's own."""
    client = cluster.connect(deadline=3)
    cluster.kill_shard("shard0")
    own, short, long = (watch(client.read("test", deadline=deadline)) for deadline in (None, 1, 5))
    seen = []
    for _ in range(6):
        seen.append(kinds([own, short, long]))
        cluster.advance(1)
    bad = [Unavailable]
    assert seen == [
        [[], [], []],
        [[], bad, []],
        [[], bad, []],
        [bad, bad, []],
        [bad, bad, []],
        [bad, bad, bad],
    ]
