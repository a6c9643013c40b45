"""What a hostile daemon's texts, and its putting off, cost a client, of each kind: short errors, and few boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aio.loop_cluster import LoopCluster
from aio.loop_cluster import run as run_on_loop
from twisted.internet.defer import Deferred

from pyshard import aio
from pyshard.client_core.cluster_answers import readiness_of
from pyshard.errors import BadRequest, PartialFailure, PyshardError, Unavailable
from pyshard.message_texts import MAX_MESSAGE
from pyshard.protocol.batch_answers import Answer, encode_answers
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings
from pyshard.shard import protocol as shard_protocol
from pyshard.testing import MemoryCluster

#: Boxes that a call may send to a shard that does nothing, within its deadline of 8 s: the first pauses are short.
MOST_BOXES = 25

PUT_OFF = ["ANSWER_FULL", "WRONG_SHARD", "INDEX_NOT_FOUND"]


class Refusing:
    """A shard's way to encode answers by which it refuses everything.

    :param code: the error's.
    :param message: its message.
    :ivar boxes: how many answers there were.
    """

    def __init__(self, code: str, message: str = "why") -> None:
        self._refusal = (code, message)
        self.boxes = 0

    def __call__(self, answers: list[Answer]) -> bytes:
        self.boxes += 1
        if self.boxes > 1000:
            raise RuntimeError("a client asks on and on")
        count = len(answers[0].results)
        return msgspec.msgpack.encode([Answer([None] * count, dict.fromkeys(range(count), self._refusal))])


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of one shard."""
    with MemoryCluster(1) as made:
        yield made


@pytest.fixture(params=["deferred", "blocking"])
def call(request: pytest.FixtureRequest, cluster: MemoryCluster) -> Iterator[Callable[..., object]]:
    """Calls a verb of a client, and waits for what it gives."""
    if request.param == "blocking":
        with cluster.blocking() as app:
            yield lambda verb, *given, **options: getattr(app, verb)(*given, **options)
    else:
        client = cluster.connect()

        def done(verb: str, *given: object, **options: object) -> object:
            found: Deferred[object] = getattr(client, verb)(*given, **options)
            return cluster.run(found, seconds=60)

        yield done


@pytest.mark.parametrize("code", PUT_OFF)
@pytest.mark.parametrize("verb", ["read", "increment", "read_many", "pop_many"])
def test_putting_off(call: Callable[..., Any], verb: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that puts everything off is asked ever less, until the deadline; then all is as it was."""
    index = "links" if code == "INDEX_NOT_FOUND" else None
    if index:
        call("create_index", index)
    refusing = Refusing(code)
    given = [str(number) for number in range(5)] if verb.endswith("_many") else "test"
    with monkeypatch.context() as hostile:
        hostile.setattr(shard_protocol, "encode_answers", refusing)
        with pytest.raises(PyshardError) as failed:
            call(verb, given, index=index, deadline=8.0)
    error = failed.value.failed[0][1] if isinstance(failed.value, PartialFailure) else failed.value
    assert (type(error), 5 < refusing.boxes <= MOST_BOXES) == (Unavailable, True), (error, refusing.boxes)
    assert call("write", "test", "hello", deadline=8.0)
    assert call("read", "test")["record"] == "hello"


def test_what_is_brought_on_goes_out_at_once(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that answers a few keys of each box, as one whose answers are full, is asked again without a pause."""
    keys = [str(number) for number in range(100)]
    call("write_many", [(key, key) for key in keys])
    boxes = 0

    def few(answers: list[Answer]) -> bytes:
        nonlocal boxes
        boxes += 1
        (answer,) = answers
        count = len(answer.results)
        results = [*answer.results[:5], *[None] * max(0, count - 5)]
        return encode_answers([Answer(results, dict.fromkeys(range(5, count), ("ANSWER_FULL", "why")))])

    with monkeypatch.context() as slow:
        slow.setattr(shard_protocol, "encode_answers", few)
        found = call("read_many", keys, deadline=0.01)  # a pause would last longer
    assert [one["record"] for one in found] == keys
    assert boxes == 20


def test_putting_off_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of the asyncio client: few boxes within half a second."""

    async def work() -> None:
        async with LoopCluster(1) as cluster, aio.connect(cluster.server) as client:
            await client.write("test", "hello")
            refusing = Refusing("ANSWER_FULL", "m" * 100_000)
            with monkeypatch.context() as hostile:
                hostile.setattr(shard_protocol, "encode_answers", refusing)
                with pytest.raises(Unavailable):
                    await client.read("test", deadline=0.5)
            assert refusing.boxes <= 10
            hostile_text = Refusing("X" * 100_000, "m" * 2**20)
            with monkeypatch.context() as hostile:
                hostile.setattr(shard_protocol, "encode_answers", hostile_text)
                with pytest.raises(PyshardError) as failed:
                    await client.read("test")
            assert len(str(failed.value)) < MAX_MESSAGE + 100

    run_on_loop(work)


@pytest.mark.parametrize("code", ["X" * 100_000, "SHARD_FULL", "NOT_A_NUMBER"])
@pytest.mark.parametrize("verb", ["read", "write_many"])
def test_texts_of_refusals(call: Callable[..., Any], verb: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error has a line of bounded length, however long the shard's code and message are."""
    with monkeypatch.context() as hostile:
        hostile.setattr(shard_protocol, "encode_answers", Refusing(code, "\x1b" + "m" * 2**22))
        with pytest.raises(PyshardError) as failed:
            call(verb, [("test", 1)] if verb == "write_many" else "test")
    assert len(str(failed.value)) < MAX_MESSAGE + 200
    assert str(failed.value).isprintable()


def test_greetings() -> None:
    """Of the texts by which a daemon says who it is no more is kept than a name may have, on one line."""
    odd = "\x1b[2J" + "n" * 65_000
    greeting = Greeting(1, odd, odd, odd, odd, 7, True, odd)
    for text in (greeting.role, greeting.identity, greeting.cluster, greeting.name, greeting.connection):
        assert (len(text), text.isprintable()) == (settings.MAX_NAME, True)


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ({"documents": 1, "bytes": 2, "uptime": 3, "x": "y" * 300_000}, "found 300,043 bytes"),
        ({"documents": "1", "bytes": 2, "uptime": 3}, "Expected `int`"),
        ({"documents": 1, "bytes": 2}, "missing required field `uptime`"),
    ],
)
def test_statistics_that_nobody_could_show(
    call: Callable[..., Any], stat: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics that are too long, or lack what people are shown, are an error of this shard alone."""
    text = msgspec.json.encode(stat)
    monkeypatch.setattr(shard_protocol, "msgspec", SimpleNamespace(json=SimpleNamespace(encode=lambda _: text)))
    (shard,) = call("stat")["shards"]
    assert expected in shard["error"]
    assert len(shard["error"]) < MAX_MESSAGE


def test_statistics_do_not_take_the_place_of_the_map(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the map says of a shard stands, and only this side says that one gave no answer."""
    (before,) = call("stat")["shards"]
    lies = {"name": "\x1b[2J", "address": "x" * 1000, "ranges": 1, "error": "m" * 100_000}
    text = msgspec.json.encode({**before, **lies})
    with monkeypatch.context() as hostile:
        hostile.setattr(shard_protocol, "msgspec", SimpleNamespace(json=SimpleNamespace(encode=lambda _: text)))
        assert call("stat")["shards"] == [before]


def test_readiness() -> None:
    """The bootstrap's texts are cut, and the shards are no more than a cluster may have."""
    shard = dict.fromkeys(["name", "address", "state", "detail"], "\x1b" + "x" * 100_000)
    (found,) = readiness_of(msgspec.json.encode([{**shard, "more": "y" * 100_000}]))
    assert {name: (len(text), text.isprintable()) for name, text in found.items()} == dict.fromkeys(
        shard, (MAX_MESSAGE, True)
    )
    with pytest.raises(BadRequest, match="found 5,001 shards"):
        readiness_of(msgspec.json.encode([dict.fromkeys(shard, "")] * (settings.MAX_SHARDS + 1)))
