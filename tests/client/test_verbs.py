"""The Deferred client against a whole cluster in memory: what each verb does, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from clusters import NO_DEADLINES, VERBS, boxes_of, kinds
from deferreds import watch
from twisted.internet.defer import Deferred

from pyshard import Client
from pyshard.errors import (
    InvalidArgument,
    InvalidDocument,
    InvalidIndexName,
    InvalidKey,
    Unavailable,
    shown_value,
)
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.testing import MemoryCluster

# -- verbs ----------------------------------------------------------------------------------------------------------


def test_a_document_from_write_to_remove(cluster: MemoryCluster, client: Client) -> None:
    """Every verb on one key: sizes in the original's measure, hashes in [0, 1), None and 0 for what isn't there."""
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


class Pages(StrEnum):
    """Names of indexes and keys, as a program may keep them."""

    NEW = "new"


def test_names_and_keys_of_subclasses(cluster: MemoryCluster, client: Client) -> None:
    """An index's name, a key and a document may be members of a StrEnum."""
    run = cluster.run
    run(client.create_index(Pages.NEW))
    assert run(client.write(Pages.NEW, Pages.NEW, Pages.NEW)) == 52
    assert run(client.index(Pages.NEW).read("new")) == run(client.read("new", "new"))
    assert run(client.write_many([(Pages.NEW, [Pages.NEW])], Pages.NEW)) == [52]
    assert run(client.indexes()) == ["new"]
    run(client.drop_index(Pages.NEW))
    assert run(client.indexes()) == []


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


# -- refused before anything is sent --------------------------------------------------------------------------------


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


CLUSTER_VERBS: list[Callable[[Client, Any], Deferred[Any]]] = [
    lambda client, deadline: client.create_index("a", deadline=deadline),
    lambda client, deadline: client.drop_index("a", deadline=deadline),
    lambda client, deadline: client.indexes(deadline=deadline),
    lambda client, deadline: client.stat(deadline=deadline),
    lambda client, deadline: client.readiness(deadline=deadline),
    lambda client, deadline: client.write("k", 1, deadline=deadline),
    lambda client, deadline: client.read("k", deadline=deadline),
    lambda client, deadline: client.item("k", deadline=deadline),
    lambda client, deadline: client.pop("k", deadline=deadline),
    lambda client, deadline: client.remove("k", deadline=deadline),
    lambda client, deadline: client.touch("k", 1, deadline=deadline),
    lambda client, deadline: client.increment("k", deadline=deadline),
    lambda client, deadline: client.has("k", deadline=deadline),
    lambda client, deadline: client.write_many({"k": 1}, deadline=deadline),
    lambda client, deadline: client.read_many(["k"], deadline=deadline),
    lambda client, deadline: client.pop_many(["k"], deadline=deadline),
    lambda client, deadline: client.remove_many(["k"], deadline=deadline),
    lambda client, deadline: client.has_many(["k"], deadline=deadline),
]


@pytest.mark.parametrize("verb", CLUSTER_VERBS)
@pytest.mark.parametrize("deadline", NO_DEADLINES, ids=shown_value)
def test_a_deadline_that_is_none_is_refused(
    cluster: MemoryCluster,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[Client, Any], Deferred[Any]],
    deadline: object,
) -> None:
    """Each verb that takes a deadline fails with `InvalidArgument` for what can be none, and no box is sent."""
    boxes = boxes_of(monkeypatch, cluster)
    (error,) = watch(verb(client, deadline))
    assert isinstance(error, InvalidArgument)
    assert str(error).startswith(f"deadline: found {shown_value(deadline)}, expected a number of seconds")
    cluster.advance(1)
    assert boxes == []


@pytest.mark.parametrize("deadline", NO_DEADLINES, ids=shown_value)
def test_scans_refuse_a_bad_deadline_at_once(client: Client, deadline: Any) -> None:
    """Where no Deferred comes back, the error is raised."""
    with pytest.raises(InvalidArgument, match=r"^deadline: found "):
        client.keys(deadline=deadline)


@pytest.mark.parametrize("flag", [None, 1, "yes", 10**5000], ids=shown_value)
def test_if_absent_is_a_bool(cluster: MemoryCluster, client: Client, flag: Any) -> None:
    """Anything else is refused, since it may stand for another argument."""
    (error,) = watch(client.write("k", 1, if_absent=flag))
    assert isinstance(error, InvalidArgument)
    assert str(error) == f"if_absent: found {shown_value(flag)}, expected True or False"


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
