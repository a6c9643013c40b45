"""The blocking client against a cluster in memory: each verb, scans, closing. Nothing here opens a socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from blocking.connecting import Connector, in_threads
from clusters import NO_DEADLINES
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.python import threadable

from pyshard import Client, Pyshard, Tls
from pyshard.blocking import BlockingIndex
from pyshard.blocking import pyshard as blocking_module
from pyshard.errors import (
    BlockingCallRefused,
    ClientClosed,
    ConfigError,
    IndexExists,
    IndexNotFound,
    InvalidArgument,
    InvalidDocument,
    InvalidIndexName,
    InvalidKey,
    Unavailable,
    shown_value,
)
from pyshard.model.key_slots import slot_of
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

_DESCRIPTORS = Path("/proc/self/fd")


# -- verbs ----------------------------------------------------------------------------------------------------------


def test_a_document_from_write_to_remove(app: Pyshard) -> None:
    """Every verb returns what the Deferred of the client's verb fires with."""
    assert app.read("test") is None
    assert app.write("test", "hello world") == 60
    assert app.write("test", "other", if_absent=True) == 0
    assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
    assert app.has("test") is True
    assert app.remove("test") == 60
    assert app.has("test") is False
    assert app.write("test1", {"hello": "world"}) == 54
    assert app.pop("test1") == {"hash_": 0.8204544, "record": {"hello": "world"}}
    assert app.pop("test1") is None
    assert app.remove("test1") == 0


def test_indexes(app: Pyshard) -> None:
    """Indexes are created, listed, used by name and by handle, and dropped."""
    app.create_index("b")
    pages = app.index("a")
    assert isinstance(pages, BlockingIndex)
    assert pages.name == "a"
    pages.create()
    assert app.indexes() == ["a", "b"]
    with pytest.raises(IndexExists):
        app.create_index("a")
    assert pages.write("k", 1) == 28
    assert pages.write("k", 2, if_absent=True) == 0
    assert app.read("k", "a") == pages.read("k") == {"hash_": slot_of(b"k", b"a") / 1e7, "record": 1}
    assert (app.has("k"), app.has("k", "b"), pages.has("k")) == (False, False, True)
    assert list(pages.keys()) == ["k"]
    assert pages.pop("k") == {"hash_": slot_of(b"k", b"a") / 1e7, "record": 1}
    assert pages.remove("k") == 0
    app.write("k", 1, "b")
    assert (app.pop("k", "b"), app.remove("k", "b")) == ({"hash_": slot_of(b"k", b"b") / 1e7, "record": 1}, 0)
    pages.drop()
    app.drop_index("b")
    assert app.indexes() == []
    with pytest.raises(IndexNotFound):
        pages.read("k")


def test_stat_and_readiness(app: Pyshard) -> None:
    """`stat` and `readiness` return what the Deferred client's verbs fire with."""
    app.write("test", 1)
    stat = app.stat()
    assert isinstance(stat["shards"], list)
    assert [(shard["name"], shard["documents"]) for shard in stat["shards"]] == [("shard0", 1), ("shard1", 0)]
    assert [one["state"] for one in app.readiness()] == ["ready", "ready"]


def test_errors_are_raised(app: Pyshard, cluster: MemoryCluster) -> None:
    """What the Deferred would fail with is raised by the call."""
    with pytest.raises(InvalidKey):
        app.write(None, 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidDocument):
        app.write("k", {1, 2})  # type: ignore[arg-type]
    with pytest.raises(IndexNotFound):
        app.read("k", "nowhere")
    with pytest.raises(InvalidIndexName):
        app.index("a b")
    cluster.kill_shard("shard0")
    with pytest.raises(Unavailable):
        app.read("test", deadline=0.3)
    assert app.write("test1", 1) == 28


@pytest.mark.parametrize("token_file", [None, "tokens", Path("tokens")])
def test_the_token_file_is_passed_on(connector: Connector, token_file: str | Path | None) -> None:
    """A `Pyshard`'s token file is its client's."""
    Pyshard("somewhere:1", token_file=token_file).close()
    assert connector.token_files == [token_file]


@pytest.mark.parametrize("tls", [None, False, Tls("ca.pem")])
def test_the_files_of_tls_are_passed_on(connector: Connector, tls: Tls | Literal[False] | None) -> None:
    """`Pyshard` passes the files of TLS to its client, which also reads the environment."""
    Pyshard("somewhere:1", tls=tls).close()
    assert connector.tls == [tls]


def test_deadlines_are_passed_on(connector: Connector) -> None:
    """A `Pyshard`'s deadline is its client's; a verb's own one replaces it."""
    with Pyshard(["somewhere", 1], deadline=0.4) as app:
        assert connector.asked == [(["somewhere", 1], 0.4)]
        connector.cluster.kill_shard("shard0")
        clock = connector.cluster.clock
        for deadline, expected in ((None, 0.4), (1.0, 1.0)):
            began = clock.seconds()
            with pytest.raises(Unavailable):
                app.read("test", deadline=deadline)
            assert expected <= clock.seconds() - began < expected + 0.2


@pytest.mark.parametrize("deadline", NO_DEADLINES, ids=shown_value)
def test_what_is_no_deadline(connector: Connector, deadline: Any) -> None:
    """A `Pyshard` refuses it when it is made, before it connects."""
    with pytest.raises(InvalidArgument, match=r"^deadline: found .*, expected a number of seconds"):
        Pyshard(["somewhere", 1], deadline=deadline)
    assert connector.asked == []


def test_the_default_server_is_that_of_the_settings(app: Pyshard, connector: Connector) -> None:
    """Without an argument `Pyshard` asks the bootstrap that the settings name, with their deadline."""
    assert connector.asked == [(settings.BOOTSTRAP_SERVER, settings.DEADLINE)]


# -- scans and many at once -----------------------------------------------------------------------------------------


def test_keys_is_an_iterator_over_all_pages(app: Pyshard) -> None:
    """`keys` gives all keys in slot order, page by page as they are asked for."""
    keys = [f"key{number}" for number in range(1500)]
    app.run(lambda client: gatherResults([client.write(key, 1) for key in keys]))
    scan = app.keys()
    first = next(scan)
    expected = sorted(keys, key=lambda key: (slot_of(key.encode()), key))
    assert [first, *scan] == expected
    assert list(app.keys()) == expected


def test_keys_refuses_a_bad_name_at_once(app: Pyshard) -> None:
    """`keys` refuses an impossible index name at once; a missing index is an error at the first key."""
    with pytest.raises(InvalidIndexName):
        app.keys("a b")
    scan = app.keys("nowhere")
    with pytest.raises(IndexNotFound):
        next(scan)


def test_run_has_many_operations_under_way(app: Pyshard) -> None:
    """`run` waits for the Deferred of any work on the client."""
    assert app.run(lambda client: gatherResults([client.write(key, "x") for key in range(2000)])) == [50] * 2000
    assert len(list(app.keys())) == 2000


def test_threads_share_an_app(app: Pyshard) -> None:
    """Many threads use one `Pyshard` at once; each has its own answers."""

    def work(number: int) -> list[object]:
        found: list[object] = []
        for turn in range(20):
            key = f"{number} {turn}"
            app.write(key, [number, turn])
            record = app.read(key)
            found.append(record and record["record"])
        return found

    outcomes = in_threads([lambda number=number: work(number) for number in range(8)])  # type: ignore[misc]
    assert outcomes == [[[number, turn] for turn in range(20)] for number in range(8)]


# -- beginning and end ----------------------------------------------------------------------------------------------


def test_an_address_that_is_none_is_refused_before_anything_is_made(connector: Connector) -> None:
    """A bad address is a `ConfigError` at once."""
    for server in ("nowhere", ["localhost"], ["localhost", 0], 7):
        with pytest.raises(ConfigError):
            Pyshard(server)  # type: ignore[arg-type]
    assert connector.asked == []


def test_close_ends_everything_once(connector: Connector) -> None:
    """After close, or the end of the with block, every call raises `ClientClosed`; closing again does nothing."""
    with Pyshard() as app:
        app.write("test", 1)
        scan = app.keys()
        pages = app.index("pages")
    assert connector.clients[0]._router.closed
    app.close()
    calls: list[Callable[[], object]] = [
        lambda: app.read("test"),
        lambda: app.write("test", 1),
        lambda: pages.has("test"),
        lambda: next(scan),
        app.stat,
        lambda: app.run(lambda _: succeed(None)),
    ]
    for call in calls:
        with pytest.raises(ClientClosed):
            call()
    assert len(connector.clients) == 1


def test_a_with_block_that_fails_closes_too(connector: Connector) -> None:
    """An error in the block passes through, and the connections are closed."""
    with pytest.raises(ValueError, match="mine"), Pyshard():
        raise ValueError("mine")
    assert connector.clients[0]._router.closed


def test_other_threads_see_the_end(app: Pyshard, connector: Connector) -> None:
    """A call that waits in another thread ends with `ClientClosed` when the app is closed."""
    connector.cluster.kill_shard("shard0")

    def wait() -> type[BaseException] | None:
        try:
            app.read("test")
        except ClientClosed as error:
            return type(error)
        return None

    def close() -> None:
        time.sleep(0.05)
        app.close()

    assert in_threads([wait, wait, close]) == [ClientClosed, ClientClosed, None]


def test_an_app_is_not_made_in_a_running_reactors_thread(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the thread of a running reactor even the first call is refused, before anything is connected."""
    from twisted.internet import reactor

    monkeypatch.setattr(threadable, "isInIOThread", lambda: True)
    monkeypatch.setattr(reactor, "running", True)
    with pytest.raises(BlockingCallRefused):
        Pyshard()
    monkeypatch.undo()
    assert connector.asked == []


def test_a_call_within_a_callback_is_refused(app: Pyshard) -> None:
    """A blocking call inside `run` would wait for itself; a refused close closes nothing."""

    def read(client: Client) -> Deferred[None]:
        app.read("test")
        return succeed(None)

    def close(client: Client) -> Deferred[None]:
        app.close()
        return succeed(None)

    for inner in (read, close):
        with pytest.raises(BlockingCallRefused):
            app.run(inner)
    assert app.write("test", 1) == 28


@pytest.mark.skipif(not _DESCRIPTORS.exists(), reason="descriptors are counted as Linux lists them")
def test_nothing_is_left_of_a_closed_app(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that was closed, or that could not connect, leaves no descriptor open."""

    def use() -> None:
        with Pyshard() as app:
            app.write("test", 1)

    def no_use() -> None:
        with pytest.raises(Unavailable):
            Pyshard()

    use()
    before = len(list(_DESCRIPTORS.iterdir()))
    for _ in range(5):
        use()
    monkeypatch.setattr(blocking_module, "connect", lambda *_, **__: fail(Unavailable("nobody there")))
    for _ in range(5):
        no_use()
    assert len(list(_DESCRIPTORS.iterdir())) == before
