"""Records that can't be read, since another program wrote them: what each verb of each client says and does of them."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from copy import copy
from typing import Any, TypeAlias

import pytest
from aio.loop_cluster import LoopCluster, run
from stores import at_once
from twisted.internet.defer import Deferred

from pyshard.aio import connect
from pyshard.client.item_pages import ItemPages
from pyshard.client.key_pages import KeyPages
from pyshard.errors import NotANumber, PartialFailure, PyshardError, UnreadableRecord
from pyshard.model.document_encoding import HEAD, encode
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.storage import IStore, Task
from pyshard.testing import MemoryCluster

#: Calls a verb by its name.
Verbs: TypeAlias = Callable[..., Awaitable[Any]]

#: Puts records into the cluster's only shard, given the index's name and id.
Put: TypeAlias = Callable[[dict[str, bytes], str, int], None]

#: Key → a record that can't be read, and why not.
RECORDS = {
    "stamp": (HEAD.pack(1, 24) + b"\x81\xa1a\xd6\xff" + bytes(4), 'can\'t be read: document["a"]: a timestamp'),
    "ext": (HEAD.pack(1, 24) + b"\xd4\x05\x00", "of 8 bytes can't be read: document: the extension type 5"),
    "ints": (HEAD.pack(1, 24) + b"\x81\x01\x02", "of 8 bytes can't be read: document: a map with the key 1, of ty"),
    "cut": (HEAD.pack(1, 24) + b"\xa5hel", "of 9 bytes can't be read: it is damaged: "),
    "head": (b"\x02" + encode(1)[0][1:], "can't be read: it begins with the byte 2; this version reads format 1 only"),
    "short": (b"\x01", "of 1 byte can't be read: it is too short"),
}  # fmt: skip

HEADS = {"head", "short"}  # of which `remove` can't give the size


def put(store: IStore, records: dict[str, bytes], index: str, number: int) -> None:
    """Put records into a store, as a shard of an older version took them."""
    keys = [key.encode() for key in records]
    slots = [slot_of(key, index.encode()) for key in keys]
    at_once(store.apply([Task(Write(index, keys, list(records.values())), number, slots)], 1 << 40, 1 << 20))


async def outcome(found: Awaitable[Any]) -> Any:
    """What a verb gives, or the error."""
    try:
        return await found
    except PyshardError as error:
        return error


def check(found: Any, verb: str, index: str, key: str, removed: bool = False) -> None:
    """Make sure that it is the error for a key."""
    assert isinstance(found, UnreadableRecord), found
    record, why = RECORDS[key]
    start = f"{verb} of key {key!r}{f' of index {index!r}' if index else ''}: the record "
    assert str(found).startswith(start)
    assert why in str(found)
    assert str(found).endswith("; it was removed") == removed
    whole = verb != "remove"
    assert (found.record, found.removed) == (record if whole else record[:5], removed)
    for again in (copy(found), pickle.loads(pickle.dumps(found))):
        assert (str(again), again.record, again.removed) == (str(found), found.record, removed)


def failures(found: Any, keys: Iterable[str]) -> list[tuple[str, Any]]:
    """The outcomes of a bulk verb that failed for some keys."""
    assert isinstance(found, PartialFailure)
    assert [key for key, _ in found.outcomes] == list(keys)
    assert UnreadableRecord.__name__ in str(found)
    return [(str(key), error) for key, error in found.outcomes]


async def scenario(verb: Verbs, put_into: Put) -> None:
    """What each verb does with such records, in the default index and in another one."""
    await verb("create_index", "pages")
    for index, number in (("", 0), ("pages", 1)):
        where = [index] if index else []

        def refill(index: str = index, number: int = number) -> None:
            put_into({key: record for key, (record, _) in RECORDS.items()}, index, number)
            put_into({"good": encode("good")[0]}, index, number)

        refill()
        for key in RECORDS:
            check(await outcome(verb("read", key, *where)), "read", index, key)
            check(await outcome(verb("item", key, *where)), "item", index, key)
            check(await outcome(verb("get", key, 7, *where)), "read", index, key)
            check(await outcome(verb("update", key, lambda _: 1, *where)), "item", index, key)
            assert await verb("has", key, *where) is True
            assert await verb("touch", key, None, *where) is True
            counting = await outcome(verb("increment", key, 1, 0, *where))
            assert isinstance(counting, NotANumber)
            assert str(counting).startswith(f"increment of key {key!r}: the ")
        keys = [*RECORDS, "good"]
        for many, given in (("read_many", "read"), ("get_many", "read")):
            for key, error in failures(await outcome(verb(many, keys, index=index or None)), keys)[:-1]:
                check(error, given, index, key)
        assert sorted(await verb("keys", *where)) == sorted(keys)
        assert await verb("count", *where) == len(keys)

        found = await verb("items", *where)
        pairs = failures(found[0], await verb("keys", *where))
        assert dict(pairs)["good"] == {"hash_": slot_of(b"good", index.encode()) / 10_000_000, "record": "good"}
        assert found[1:] == []

        for key in RECORDS:
            check(await outcome(verb("pop", key, *where)), "pop", index, key, removed=True)
            assert await verb("has", key, *where) is False
        refill()
        for key in RECORDS:
            removed = await outcome(verb("remove", key, *where))
            if key in HEADS:
                check(removed, "remove", index, key, removed=True)
            else:
                assert removed == 24
            assert await verb("has", key, *where) is False
        for many in ("pop_many", "remove_many"):
            refill()
            for key, error in failures(await outcome(verb(many, keys, index=index or None)), keys):
                if key == "good" or (many == "remove_many" and key not in HEADS):
                    assert not isinstance(error, UnreadableRecord)
                else:
                    check(error, many.removesuffix("_many"), index, key, removed=True)
            assert await verb("count", *where) == 0
        refill()
        assert await verb("write", "head", 1, *where) == 28
        assert await verb("replace", "stamp", 1, *where) is True
        assert await verb("clear", *where) == len(keys)


def drive(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that awaits nothing that isn't there."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


@pytest.mark.parametrize("blocking", [False, True])
def test_in_memory(blocking: bool) -> None:
    """The Deferred and the blocking client name key and index, give the record, and say whether the key is gone."""
    with MemoryCluster(1) as cluster:
        app: Any = cluster.blocking() if blocking else cluster.connect()

        async def verb(name: str, *arguments: Any, **options: Any) -> Any:
            found = getattr(app, name)(*arguments, **options)
            if name == "keys" and isinstance(found, KeyPages):
                return cluster.run(found.next_page())
            if name == "items":
                return list(steps(cluster, found))
            if name == "keys":
                return list(found)
            return cluster.run(found) if isinstance(found, Deferred) else found

        shard = cluster.services["shard0"].shard
        drive(scenario(verb, lambda records, index, number: put(shard.store, records, index, number)))
        app.close()


def steps(cluster: MemoryCluster, found: Any) -> Iterable[Any]:
    """What an iterator gives, its errors included; it is asked for more after an error."""
    while True:
        try:
            if isinstance(found, ItemPages):
                page: list[Any] = cluster.run(found.next_page())
                if not page:
                    return
                yield from page
            else:
                yield next(found)
        except StopIteration:
            return
        except PartialFailure as failure:
            yield failure


def test_on_asyncio() -> None:
    """The asyncio client does the same."""

    async def main() -> None:
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:

            async def verb(name: str, *arguments: Any, **options: Any) -> Any:
                found: Any = getattr(client, name)(*arguments, **options)
                if name not in ("keys", "items"):
                    return await found if hasattr(found, "__await__") else found
                all_of_it: list[Any] = []
                while True:
                    try:
                        all_of_it.append(await anext(found))
                    except StopAsyncIteration:
                        return all_of_it
                    except PartialFailure as failure:
                        all_of_it.append(failure)

            shard = cluster.services["shard0"].shard
            assert shard is not None
            await scenario(verb, lambda records, index, number: put(shard.store, records, index, number))

    run(main)
