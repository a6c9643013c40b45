"""The bulk verbs of the blocking client: windows, and the caller's code in the caller's thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from enum import StrEnum

import pytest

from pyshard import Key, Pyshard, Storable
from pyshard.blocking import bulk_call, primary_silence
from pyshard.blocking.calling_thread_tasks import Interest, Steps
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.client_core.conversation import Broken
from pyshard.errors import (
    IndexNotFound,
    InvalidArgument,
    InvalidKey,
    NotTrusted,
    OutcomeUnknown,
    PartialFailure,
    Unavailable,
)
from pyshard.testing import MemoryCluster


def test_the_verbs(app: Pyshard) -> None:
    """Each bulk verb returns the results of the single verb, in the order of the keys."""
    pairs: dict[Key, Storable] = {"a": 1, "b": "two"}
    assert app.write_many(pairs) == [28, 52]
    assert app.write_many(((number, None) for number in range(3)), ttl=60) == [16] * 3
    assert app.read_many(["b", "nothing", 0]) == [app.read("b"), None, app.read(0)]
    assert app.has_many(iter("abc")) == [True, True, False]
    assert app.remove_many(["a", "a"]) == [28, 0]
    assert [one and one["record"] for one in app.pop_many(["b", "b"])] == ["two", None]


def test_in_an_index(app: Pyshard) -> None:
    """A handle on an index has the bulk verbs, too."""
    app.create_index("pages")
    pages = app.index("pages")
    assert pages.write_many({"a": 1, "b": 2, "c": 3}) == [28] * 3
    assert pages.read_many(["a"]) == [pages.read("a")]
    assert pages.has_many(["a", "x"]) == [True, False]
    assert pages.remove_many(["a"]) == [28]
    assert [one and one["record"] for one in pages.pop_many(["b", "a"])] == [2, None]
    assert app.has_many(["c"]) == [False]


class Pages(StrEnum):
    """Names of indexes and keys, as a program may keep them."""

    NEW = "new"


def test_names_and_keys_of_subclasses(app: Pyshard) -> None:
    """An index's name, a key and a document may be members of a StrEnum."""
    app.create_index(Pages.NEW)
    assert app.write_many([(Pages.NEW, [Pages.NEW])], Pages.NEW) == [52]
    assert app.write(Pages.NEW, Pages.NEW, Pages.NEW) == 52
    assert app.index("new").read("new") == app.read(Pages.NEW, Pages.NEW)
    app.drop_index(Pages.NEW)
    assert app.indexes() == []


def test_windows(app: Pyshard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are sent in windows; `progress` is called after each window, in the calling thread."""
    monkeypatch.setattr(bulk_call, "_WINDOW", 100)
    told: list[tuple[int, int]] = []
    pairs = [(number, number) for number in range(250)]

    def progress(count: int) -> None:
        told.append((count, threading.get_ident()))

    assert app.write_many(pairs, progress=progress) == [24] + [28] * 249
    assert told == [(count, threading.get_ident()) for count in (100, 200, 250)]
    records = app.read_many(number for number in range(250))
    assert [record and record["record"] for record in records] == [number for number, _ in pairs]


def test_one_document_that_is_yielded_again_and_again(app: Pyshard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key gets what the document was when it was yielded, over windows too, in an index with the same verbs."""
    monkeypatch.setattr(bulk_call, "_WINDOW", 100)
    app.create_index("pages")

    def pairs() -> Iterator[tuple[int, Storable]]:
        document: dict[str, object] = {"links": []}
        for number in range(250):
            document["links"] = [number] if number % 2 else number
            yield number, document

    for verbs in (app, app.index("pages")):
        verbs.write_many(pairs())
        found = [one and one["record"] for one in verbs.read_many(range(250))]
        assert found == [{"links": [number] if number % 2 else number} for number in range(250)]


def test_an_iterable_that_makes_calls(app: Pyshard) -> None:
    """The iterable and `progress` may make blocking calls themselves."""
    app.write_many([(f"from {number}", number) for number in range(5)])

    def copies() -> Iterator[tuple[str, object]]:
        for number in range(5):
            found = app.read(f"from {number}")
            assert found is not None
            yield f"to {number}", found["record"]

    seen: list[bool] = []
    assert len(app.write_many(copies(), progress=lambda _: seen.append(app.has("to 4")))) == 5
    assert seen == [True]


def test_failures_of_all_windows(app: Pyshard, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a window with failures the later windows are done, too; each key has its outcome."""
    monkeypatch.setattr(bulk_call, "_WINDOW", 2)
    keys: list[Key] = ["a", True, "b", "c", False, "d"]
    with pytest.raises(PartialFailure, match="2 of 6 keys failed") as caught:
        app.has_many(keys)
    assert [key for key, _ in caught.value.outcomes] == keys
    assert [key for key, error in caught.value.failed if type(error) is InvalidKey] == [True, False]
    with pytest.raises(PartialFailure) as caught:
        app.write_many({"a": 1}, "nowhere")
    assert [type(error) for _, error in caught.value.failed] == [IndexNotFound]


def test_a_cluster_that_is_away_is_waited_for_once(
    app: Pyshard, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that let a deadline pass isn't waited for again in later windows."""
    monkeypatch.setattr(bulk_call, "_WINDOW", 50)
    app.write("k", 1)
    for name in cluster.names:
        cluster.kill_shard(name)
    began = cluster.clock.seconds()
    with pytest.raises(PartialFailure) as caught:
        app.read_many(range(1000), deadline=1)
    assert len(caught.value.failed) == 1000
    assert all(isinstance(error, Unavailable) for _, error in caught.value.failed)
    assert cluster.clock.seconds() - began < 4


def test_mistakes(app: Pyshard) -> None:
    """A wrong argument is refused at once, and an error of the iterable reaches the caller."""
    with pytest.raises(InvalidArgument, match="found one str"):
        app.read_many("abc")
    with pytest.raises(InvalidArgument, match="expected pairs"):
        app.write_many(["ab"])  # type: ignore[list-item]  # that is the mistake
    with pytest.raises(ZeroDivisionError):
        app.read_many(1 // number for number in (1, 0))


def test_a_connection_that_is_not_trusted_any_more(
    cluster: MemoryCluster, app: Pyshard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bulk verb ends when TLS breaks with all of its boxes in flight: it went round for ever.

    What was sent is in doubt, and the rest fails with the reason.
    """
    looks = 0

    def broken(_: PooledConnection, until: float) -> Steps[None]:
        nonlocal looks
        looks += 1
        assert looks < 100
        yield Interest((), 0.0)
        raise NotTrusted("a record was changed on the way")

    monkeypatch.setattr(PooledConnection, "any_answer", broken)
    with pytest.raises(PartialFailure) as caught:
        app.write_many((str(number), number) for number in range(8000))
    kinds = {type(error) for _, error in caught.value.failed}
    assert (len(caught.value.failed), kinds) == (8000, {OutcomeUnknown, NotTrusted})


def test_a_shard_that_breaks_each_connection(app: Pyshard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dialed again after growing pauses, as one that isn't there is."""
    dialed = 0

    def broken(*_: object) -> Steps[None]:
        nonlocal dialed
        dialed += 1
        yield from ()
        raise Broken("the peer broke the protocol: for a test")

    monkeypatch.setattr(primary_silence, "any_answer", broken)
    with pytest.raises(PartialFailure):
        app.read_many(range(100), deadline=3)
    assert 4 <= dialed <= 2 * 12  # of each shard
