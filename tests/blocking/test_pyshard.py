"""The blocking client against a cluster in memory: each verb, scans, closing. Nothing here opens a socket."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Callable

import pytest
from blocking.threads import in_threads

from pyshard import Pyshard
from pyshard.blocking import BlockingIndex
from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.errors import (
    ClientClosed,
    ConfigError,
    IndexExists,
    IndexNotFound,
    InvalidDocument,
    InvalidIndexName,
    InvalidKey,
    Unavailable,
)
from pyshard.model.key_slots import slot_of
from pyshard.net.connection_parameters import connection_parameters
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

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


def test_deadlines(cluster: MemoryCluster) -> None:
    """A `Pyshard`'s deadline is that of its calls; a verb's own one replaces it."""
    with cluster.blocking(deadline=0.4) as app:
        cluster.kill_shard("shard0")
        for deadline, expected in ((None, 0.4), (1.0, 1.0)):
            began = cluster.clock.seconds()
            with pytest.raises(Unavailable):
                app.read("test", deadline=deadline)
            assert expected - 1e-9 <= cluster.clock.seconds() - began < expected + 0.2


# -- scans and many at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda app: app.read("test", deadline=0.5),
        lambda app: app.write("test", 1, deadline=0.5),
        lambda app: list(app.keys(deadline=0.5)),
        lambda app: app.indexes(deadline=0.5),
        lambda app: app.create_index("a", deadline=0.5),
    ],
)
def test_a_deadline_and_a_peer_that_was_silent_for_long(
    app: Pyshard, cluster: MemoryCluster, call: Callable[[Pyshard], object]
) -> None:
    """It is asked for a sign of life first, and that doesn't last longer than the deadline either."""
    app.read("test")
    app.indexes()
    cluster.advance(settings.HEARTBEAT + 1)
    for where in (("127.0.0.1", 5050), ("localhost", 9192)):
        cluster.network.silence(*where)
    began = cluster.clock.seconds()
    with pytest.raises(Unavailable, match=r"no sign of life within 0\.5 s"):
        call(app)
    assert cluster.clock.seconds() <= began + 0.51


def test_keys_is_an_iterator_over_all_pages(app: Pyshard) -> None:
    """`keys` gives all keys in slot order, page by page as they are asked for."""
    keys = [f"key{number}" for number in range(1500)]
    app.write_many(dict.fromkeys(keys, 1))
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


def test_an_address_that_is_none_is_refused() -> None:
    """A bad address is a `ConfigError` at once."""
    for server in ("nowhere", ["localhost"], ["localhost", 0], 7, "unix:/tmp/socket"):
        with pytest.raises(ConfigError):
            Pyshard(server)  # type: ignore[arg-type]


def test_close_ends_everything_once(cluster: MemoryCluster) -> None:
    """After close, or the end of the with block, every call raises `ClientClosed`; closing again does nothing."""
    with cluster.blocking() as app:
        app.write("test", 1)
        scan = app.keys()
        pages = app.index("pages")
    app.close()
    calls: list[Callable[[], object]] = [
        lambda: app.read("test"),
        lambda: app.write("test", 1),
        lambda: app.write_many({"test": 1}),
        lambda: pages.has("test"),
        lambda: next(scan),
        app.stat,
    ]
    for call in calls:
        with pytest.raises(ClientClosed):
            call()


def test_a_with_block_that_fails_closes_too(cluster: MemoryCluster) -> None:
    """An error in the block passes through, and the connections are closed."""
    with pytest.raises(ValueError, match="mine"), cluster.blocking() as app:
        raise ValueError("mine")
    with pytest.raises(ClientClosed):
        app.read("test")


def test_other_threads_see_the_end(app: Pyshard, cluster: MemoryCluster) -> None:
    """A call that waits in another thread ends with `ClientClosed` when the app is closed."""
    app.has("test")
    cluster.network.silence("127.0.0.1", 5050)
    began = threading.Barrier(3)

    def wait() -> type[BaseException] | None:
        began.wait()
        try:
            app.read("test", deadline=1e9)
        except ClientClosed as error:
            return type(error)
        return None

    def close() -> None:
        began.wait()
        time.sleep(0.05)
        app.close()

    assert in_threads([wait, wait, close]) == [ClientClosed, ClientClosed, None]


def test_under_pytest_twisted(app: Pyshard) -> None:
    """A call works where a reactor runs in its thread, too, as it does in each test with pytest-twisted."""
    from twisted.internet import reactor

    assert getattr(reactor, "_started", False)
    assert app.write("test", 1) == 28


def test_pickled_and_copied(cluster: MemoryCluster) -> None:
    """A client pickles as what it was made with; a copy connects anew, at its first call."""
    url = "pyshard://db.example.com,other:9193/pages?deadline=3"
    made = over(Connector(connection_parameters(url)))
    again = pickle.loads(pickle.dumps(made))
    assert again._connector.parameters == made._connector.parameters
    assert (again._deadline, again._default_index, again._made) == (3.0, "pages", None)
    with cluster.blocking() as app:
        app.write("test", 1)
        with copy.copy(app) as other:
            assert other.read("test") == app.read("test")
            assert other._made is not app._made
