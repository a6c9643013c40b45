"""The everyday verbs on a cluster in memory, of the Deferred and of the blocking client alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stores import at_once
from twisted.internet.defer import Deferred, succeed

from pyshard import Client
from pyshard.client.item_pages import ItemPages
from pyshard.client.key_pages import KeyPages
from pyshard.errors import IndexNotFound, InvalidArgument, InvalidDocument, PartialFailure, Unavailable
from pyshard.protocol.batch_operations import Remove
from pyshard.storage import ITSELF, Page, Sender
from pyshard.testing import MemoryCluster

#: Calls a verb by its name, and gives what it gives.
Verbs = Callable[..., Any]


@pytest.fixture(params=["Deferred", "blocking"])
def verb(request: pytest.FixtureRequest, cluster: MemoryCluster) -> Iterator[Verbs]:
    """The verbs of a client."""
    if request.param == "blocking":
        with cluster.blocking() as app:
            yield lambda name, *arguments, **options: found_of(cluster, getattr(app, name)(*arguments, **options))
    else:
        client = cluster.connect()
        yield lambda name, *arguments, **options: found_of(cluster, getattr(client, name)(*arguments, **options))


def found_of(cluster: MemoryCluster, found: Any) -> Any:
    """What a verb gives, whatever the client."""
    if isinstance(found, ItemPages | KeyPages):

        async def collect() -> list[Any]:
            return [one async for one in found]

        return cluster.run(collect())
    if isinstance(found, Iterator):
        return list(found)
    return cluster.run(found) if isinstance(found, Deferred) else found


def test_get(verb: Verbs) -> None:
    """The document itself, or the default where the key is missing."""
    verb("write", "a", {"n": 1})
    verb("write", "none", None)
    assert verb("get", "a") == {"n": 1}
    assert (verb("get", "x"), verb("get", "x", 7), verb("get", "none", 7)) == (None, 7, None)
    assert verb("get", "a", type=dict[str, int]) == {"n": 1}
    assert verb("get_many", ["none", "x", "a"], 7) == [None, 7, {"n": 1}]
    with pytest.raises(InvalidArgument, match="type: found"):
        verb("get_many", ["x"], type=object)
    with pytest.raises(PartialFailure) as unfit:
        verb("get_many", ["a", "none", "x"], 7, type=dict[str, int])
    (fits, (key, error), missing) = unfit.value.outcomes
    assert (fits, key, missing) == (("a", {"n": 1}), "none", ("x", 7))
    assert isinstance(error, InvalidDocument)
    with pytest.raises(PartialFailure) as failed:
        verb("get_many", ["a", True, "x"], 7)
    assert [outcome for _, outcome in failed.value.outcomes if not isinstance(outcome, Exception)] == [{"n": 1}, 7]


def test_add_and_replace(verb: Verbs) -> None:
    """They tell whether they stored the document, also an empty one."""
    assert (verb("replace", "a", {}), verb("add", "a", {}), verb("add", "a", 1)) == (False, True, False)
    assert verb("get", "a") == {}
    assert (verb("add", "a", {}), verb("replace", "nothing", {})) == (False, False)
    assert [type(verb(name, "nothing", 1)) for name in ("replace", "add", "add")] == [bool] * 3
    assert verb("replace", "a", [], ttl=5) is True
    version = verb("item", "a")["version"]
    assert verb("replace", "a", 2, if_version=version + 1) is False
    assert verb("replace", "a", 2, if_version=version) is True
    assert verb("get", "a") == 2


def test_add_many(verb: Verbs) -> None:
    """Whether each was stored, in order; a key given twice is stored once."""
    verb("write", "there", 1)
    assert verb("add_many", [("there", 2), ("new", {}), ("new", 3), ("other", 4)]) == [False, True, False, True]
    assert verb("get_many", ["there", "new", "other"]) == [1, {}, 4]
    assert {type(stored) for stored in verb("add_many", {"there": 1, "newer": {}})} == {bool}
    with pytest.raises(PartialFailure) as failed:
        verb("add_many", [("a", {}), ("b", {1}), ("a", 2)])
    assert [outcome for _, outcome in failed.value.outcomes if not isinstance(outcome, Exception)] == [True, False]


def test_items_count_and_clear(verb: Verbs) -> None:
    """All keys of an index with their documents; how many there are; and all of them removed."""
    pairs = {f"key {number}": number for number in range(2500)}
    verb("create_index", "pages")
    verb("write_many", pairs, "pages")
    verb("write", "other", 1)
    assert (verb("count"), verb("count", "pages")) == (1, 2500)
    found = verb("items", "pages")
    assert dict(found) == pairs
    assert [key for key, _ in found] == verb("keys", "pages")
    verb("add_many", [("empty", {}), ("empty too", [])], "pages")
    assert verb("clear", "pages") == 2502
    assert (verb("count", "pages"), verb("items", "pages"), verb("count")) == (0, [], 1)
    for name in ("items", "count", "clear"):
        with pytest.raises(IndexNotFound):
            verb(name, "nowhere")


def test_a_shard_that_is_away(verb: Verbs, cluster: MemoryCluster) -> None:
    """A count without one of the shards is an error, never a smaller number."""
    verb("write_many", {number: number for number in range(20)})
    cluster.kill_shard("shard1")
    for name in ("count", "items", "clear"):
        with pytest.raises(Unavailable):
            verb(name, deadline=0.5)


def test_clear_counts_what_it_removed_itself(verb: Verbs, cluster: MemoryCluster) -> None:
    """What somebody else removes between the listing and the removal doesn't count."""
    verb("write_many", {number: {} for number in range(10)})
    shard = cluster.services["shard0"].shard
    listing = shard.keys

    def list_then_remove(
        epoch: int, index: str, slot: int, after: bytes | None, sender: Sender = ITSELF
    ) -> Deferred[Page]:
        page = at_once(listing(epoch, index, slot, after, sender))
        at_once(shard.apply(epoch, [Remove(index, page.keys[:2])]))
        return succeed(page)

    shard.keys = list_then_remove  # type: ignore[method-assign]
    assert verb("clear") == 8
    assert verb("count") == 0


def test_an_update_keeps_the_time_to_live(verb: Verbs, cluster: MemoryCluster) -> None:
    """However often it is changed, a document expires when it would have; unless the update says otherwise."""
    verb("write", "a", 0, ttl=100)
    expiry = verb("item", "a")["expiry"]
    for _ in range(5):
        cluster.advance(0.7)
        verb("update", "a", lambda number: number + 1)
    assert (verb("get", "a"), verb("item", "a")["expiry"]) == (5, expiry)
    verb("update", "a", lambda number: number, ttl=5)
    assert verb("item", "a")["ttl"] <= 5
    verb("update", "a", lambda number: number, ttl=None)
    assert verb("item", "a")["ttl"] is None


@pytest.mark.parametrize("wrong", [{"function": 5}, {"function": len, "ttl": -1}, {"function": len, "default": {1}}])
def test_an_update_with_wrong_arguments(verb: Verbs, wrong: dict[str, Any]) -> None:
    """It is refused before anything is read, also where there is no key."""
    with pytest.raises((InvalidArgument, InvalidDocument)):
        verb("update", "nothing", **wrong)


def test_update(verb: Verbs) -> None:
    """The new document is written, and given; a missing key counts for the default."""
    verb("write", "a", [1], ttl=100)
    assert verb("update", "a", lambda found: [*found, 2]) == [1, 2]
    assert verb("get", "a") == [1, 2]
    assert 0 < verb("item", "a")["ttl"] <= 100
    assert verb("update", "n", lambda number: number + 1) is None
    assert verb("has", "n") is False
    assert verb("update", "n", lambda number: number + 1, default=0) == 1
    with pytest.raises(InvalidArgument, match="the function gave None"):
        verb("update", "a", lambda found: found.append(3))
    assert verb("get", "a") == [1, 2]


def test_update_when_somebody_is_faster(verb: Verbs, cluster: MemoryCluster, client: Client) -> None:
    """Nobody's change is lost: the function is called again with the newer document."""
    verb("write", "n", 0)
    calls: list[int] = []

    def add(number: int) -> int:
        calls.append(number)
        if len(calls) < 4:
            client.write("n", number + 10)
            cluster.network.settle()
        return number + 1

    assert verb("update", "n", add) == 31
    assert (calls, verb("get", "n")) == ([0, 10, 20, 30], 31)


def test_update_that_never_wins(verb: Verbs, cluster: MemoryCluster, client: Client) -> None:
    """It ends by its deadline, and nothing of its own was written."""
    verb("write", "n", 0)

    def add(number: int) -> int:
        client.write("n", number + 1)
        cluster.advance(0.2)
        return -1

    with pytest.raises(Unavailable, match="others changed it each time"):
        verb("update", "n", add, deadline=1)
    assert verb("get", "n") > 0


def test_touch_and_increment(verb: Verbs) -> None:
    """A touch may demand a version; an increment gives a time to live to what it creates."""
    verb("write", "a", 1)
    version = verb("item", "a")["version"]
    assert (verb("touch", "a", 50, if_version=version + 1), verb("touch", "a", 50, if_version=version)) == (False, True)
    assert 0 < verb("item", "a")["ttl"] <= 50
    assert (verb("increment", "n", ttl=20), verb("increment", "n", ttl=500)) == (1, 2)
    assert 0 < verb("item", "n")["ttl"] <= 20


def test_locate(verb: Verbs) -> None:
    """Where a key is, without asking anybody."""
    assert verb("locate", "test") == {
        "hash_": 0.1671936,
        "slot": 1671936,
        "shard": "shard0",
        "address": "127.0.0.1:5050",
    }
