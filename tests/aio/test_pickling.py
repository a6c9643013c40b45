"""What can be pickled and copied of the asyncio client, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aio.loop_cluster import LoopCluster, run

from pyshard import Tls
from pyshard.aio import connect
from pyshard.errors import InvalidArgument, Unavailable


@dataclass
class Page:
    """A document."""

    url: str


#: Ways to make a second one of something.
AGAIN: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}

REFUSED = (
    "AioClient can't be pickled or copied: it is connected, and belongs to its event loop; pickle what connect(…) "
    "gives, or the address, such as 'pyshard://host:9192/index?deadline=5', and connect with that"
)


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
def test_a_connected_client_is_refused(again: Callable[[Any], Any]) -> None:
    """A client belongs to its loop; who pickles or copies it is told, in one line, what to pickle instead."""

    async def main() -> None:
        async with LoopCluster() as cluster, connect(cluster.server) as client:
            with pytest.raises(TypeError) as refused:
                again(client)
            assert str(refused.value) == REFUSED
            assert await client.write("a", 1) == 28

    run(main)


def test_handles_of_a_connected_client_are_refused() -> None:
    """A handle on an index pickles its client, so it is refused for the same reason."""

    async def main() -> None:
        async with LoopCluster() as cluster, connect(cluster.server) as client:
            for handle in (client.index("pages"), client.index("pages", type=Page)):
                with pytest.raises(TypeError) as refused:
                    pickle.dumps(handle)
                assert str(refused.value) == REFUSED

    run(main)


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
def test_what_connect_gives(again: Callable[[Any], Any]) -> None:
    """It pickles and copies as what it was given, also while its client is open, and connects anew."""

    async def main() -> None:
        async with LoopCluster() as cluster:
            connecting = connect(f"pyshard://{cluster.server}?deadline=5", index="pages")
            async with connecting as client:
                await client.create_index("pages")
                await client.write("a", 1)
                async with again(connecting) as other:
                    assert other is not client
                    assert await other.read("a") == await client.read("a") is not None
                assert await client.has("a")

    run(main)


def test_every_argument_is_pickled() -> None:
    """Whatever `connect` takes comes along; files are named, and what is in them stays where it is."""
    given: dict[str, Any] = {
        "deadline": 3.0,
        "token_file": "/etc/app/token",
        "tls": Tls("/etc/app/ca.pem"),
        "index": "pages",
        "addresses": {"10.0.0.5:5050": "db.example.com:15050"},
        "read_from": "nearest",
    }
    again: Any = pickle.loads(pickle.dumps(connect("db.example.com:9192", **given)))
    assert (again._begin.args, again._begin.keywords) == (("db.example.com:9192",), given)


def test_entered_twice() -> None:
    """One ``connect(…)`` has one client at a time; after it is closed, or didn't come to be, there can be another."""

    async def main() -> None:
        async with LoopCluster() as cluster:
            connecting = connect(cluster.server)
            async with connecting as client:
                with pytest.raises(InvalidArgument, match="whose client is open already"):
                    await connecting.__aenter__()
                assert await client.write("a", 1) == 28
            async with connecting as client:
                assert await client.has("a")
            nobody = connect("127.0.0.1:1", deadline=0.1)
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await nobody.__aenter__()

    run(main)
