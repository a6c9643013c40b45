"""Watches of etcd on a network in memory: whatever they tell is a hint, and none keeps its connection."""

from __future__ import annotations

import pytest
from bootstrap.state_stores.fake_etcd import EtcdBench, answer
from deferreds import watch
from twisted.web.server import Request


@pytest.fixture
def bench() -> EtcdBench:
    """Three members, with nothing in them."""
    return EtcdBench()


@pytest.mark.parametrize(
    "text",
    [
        b'{"result":{"events":[{"kv":{}}]}}\n',
        b'{"result":{"canceled":true,"compact_revision":"7"}}\n',
        b'{"error":{"grpc_code":14,"message":"it stops"}}\n',
        b"nonsense",
    ],
)
def test_whatever_a_watch_tells_is_a_hint(bench: EtcdBench, text: bytes) -> None:
    """An event, a compaction, an error, or nonsense: who waits reads again."""
    outcome = watch(bench.store.wait(bench.put()))
    bench.network.advance(100)
    assert outcome == []
    bench.etcd.end_watches(text)
    bench.network.settle()
    assert outcome == [None]


@pytest.mark.parametrize(
    "text",
    [
        b'{"result":{"created":true,"canceled":true,"compact_revision":"7"}}\n',
        b'{"error":{"grpc_code":14,"message":"it stops"}}\n',
        b"x" * 100_000,
    ],
)
def test_a_watch_that_does_not_begin(bench: EtcdBench, text: bytes) -> None:
    """It is over at once, in whatever words; nobody waits for it."""
    revision = bench.put()

    def refuse(request: Request) -> None:
        request.write(text)

    bench.do(0, refuse)
    bench.run(bench.store.wait(revision), 0)


def test_a_watch_ends_with_its_connection(bench: EtcdBench) -> None:
    """And so it does when it is answered by an error."""
    revision = bench.put()
    outcome = watch(bench.store.wait(revision))
    bench.network.settle()
    bench.network.cut("etcd0", 2379)
    bench.network.settle()
    assert outcome == [None]
    bench.do(0, answer(503, b"{}"))
    bench.run(bench.store.wait(revision), 0)


def test_a_watch_is_given_up(bench: EtcdBench) -> None:
    """Its connection is closed then."""
    waiting = bench.store.wait(bench.put())
    bench.network.settle()
    ended = watch(bench.etcd.watches[0].notifyFinish())
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    bench.network.settle()
    assert len(ended) == 1
