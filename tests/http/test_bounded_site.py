"""No peer of the HTTP port takes more than a bounded part of the daemon."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.task import Clock
from twisted.web.http import Request

from pyshard.http import bounded_site
from pyshard.http.bounded_site import BoundedSite
from pyshard.http.deferred_page import DeferredPage
from pyshard.http.web_page import Root, WebAnswer, WebPage
from pyshard.settings import settings

Connect = Callable[[], Any]  # a peer of conftest.py, which can't be imported: its folder has the name of a module


def test_a_page(connect: Connect) -> None:
    """It is answered over a connection that stays; no header tells what runs, and HEAD has the same ones."""
    peer = connect()
    got = peer.get()
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\nhello\n")
    assert b"Cache-Control: no-store\r\n" in got
    assert b"Server:" not in got
    assert peer.get(method="HEAD") == got.removesuffix(b"hello\n")
    assert peer.get() == got
    assert not peer.ended


@pytest.mark.parametrize("path", ["/", "/other", "/page/more", "/page/"])
def test_no_such_page(connect: Connect, path: str) -> None:
    """Another path is a 404 in plain text."""
    got = connect().get(path)
    assert got.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"there is no such page; expected /metrics" in got


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods(connect: Connect, method: str) -> None:
    """Nothing can be changed."""
    assert connect().get(method=method).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


def test_a_file_over_a_unix_socket(connect: Connect) -> None:
    """It is closed, and so is the connection of whoever sends files; nothing is logged of it."""
    peer = connect()
    assert IFileDescriptorReceiver.providedBy(peer.channel)
    reads, writes = os.pipe()
    peer.channel.fileDescriptorReceived(reads)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reads)
    os.close(writes)
    assert peer.ended


@pytest.mark.parametrize("header", ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"])
def test_no_bodies(connect: Connect, header: str) -> None:
    """A request with a body is refused before the body comes, and what comes of it is dropped."""
    peer = connect()
    assert peer.get(method="POST", headers=header).startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert peer.ended
    assert peer.send(b"5\r\n" + b"x" * 100_000) == b""


def test_long_headers(connect: Connect) -> None:
    """Many headers, or long ones, are refused, and the connection is closed."""
    many, long = connect(), connect()
    assert many.get(headers="A: b\r\n" * 600).startswith(b"HTTP/1.1 400 ")
    assert many.ended
    long.get(headers=f"A: {'x' * 20_000}\r\n")
    assert long.ended


def test_slow_requests(connect: Connect, clock: Clock) -> None:
    """A request has so long to come, however often some bytes of it do; an answer begins the time anew."""
    slow, patient = connect(), connect()
    for byte in b"GET /page HTT":
        slow.send(bytes([byte]))
        clock.advance(settings.HTTP_REQUEST / 12)
    assert slow.transport.disconnected  # at once, whatever waits to be read
    slow.lose()
    patient = connect()
    for _ in range(3):
        clock.advance(settings.HTTP_REQUEST - 1)
        assert patient.get().endswith(b"hello\n")
    clock.advance(settings.HTTP_REQUEST)
    assert patient.ended


def test_many_connections(connect: Connect, site: BoundedSite, clock: Clock) -> None:
    """One more takes the place of the one that has waited longest for a request."""
    peers = [connect() for _ in range(settings.HTTP_CONNECTIONS)]
    peers[0].get()
    one_more = connect()
    assert [peer.ended for peer in peers[:3]] == [False, True, False]
    peers[1].lose()
    assert one_more.get().endswith(b"hello\n")
    assert not peers[0].ended


def test_many_connections_that_are_answered(root: Root, connect: Connect, clock: Clock) -> None:
    """While all have a request that is being answered, one more is closed."""
    root.putChild(b"slow", DeferredPage(lambda _: Deferred(), None, b"text/plain"))
    peers = [connect() for _ in range(settings.HTTP_CONNECTIONS)]
    for peer in peers:
        assert peer.get("/slow") == b""
    clock.pump([1 / settings.HTTP_PACE + 0.001] * settings.HTTP_CONNECTIONS)  # until each has had its turn
    assert connect().ended
    assert not any(peer.ended for peer in peers)


def test_many_connections_that_wait_for_their_turn(connect: Connect, clock: Clock) -> None:
    """Those whose request isn't answered yet give their place to one more, and their turn to the others."""
    first = connect()
    for _ in range(settings.HTTP_BURST):
        first.get()
    peers = [connect() for _ in range(settings.HTTP_CONNECTIONS - 1)]
    for peer in peers:
        assert peer.get() == b""
    assert first.get() == b""
    assert [connect().ended for _ in range(2)] == [False, False]
    assert [peer.ended for peer in [first, *peers[:2]]] == [True, True, False]
    clock.advance(1 / settings.HTTP_PACE + 0.001)
    assert peers[1].heard().endswith(b"hello\n")
    assert first.heard() == peers[0].heard() == b""


def test_pace(connect: Connect, clock: Clock) -> None:
    """Some requests are answered at once, the others at a pace; one whose peer goes away isn't."""
    peer = connect()
    for _ in range(settings.HTTP_BURST):
        assert peer.get()
    assert peer.get() == b""
    clock.advance(1 / settings.HTTP_PACE + 0.001)
    assert peer.heard().endswith(b"hello\n")
    assert peer.get() == b""
    peer.lose()
    clock.advance(2)
    assert peer.heard() == b""
    assert connect().get().endswith(b"hello\n")


def test_answers_that_take_long(root: Root, connect: Connect, clock: Clock) -> None:
    """All else has four times as long before the next one, however many are asked for at once."""
    begun: list[float] = []

    def work(_: object) -> WebAnswer:
        begun.append(clock.seconds())
        clock.rightNow += 0.01
        return WebAnswer(b"done\n")

    root.putChild(b"work", WebPage(work))
    peers = [connect() for _ in range(10)]
    for peer in peers:
        peer.send(b"GET /work HTTP/1.1\r\nHost: here\r\n\r\n")
    assert len(begun) == 1
    clock.pump([0.001] * 500)
    assert len(begun) == 10
    assert all(0.05 <= later - earlier < 0.053 for earlier, later in pairwise(begun))
    assert connect().get().endswith(b"hello\n")


def test_peers_that_leave_while_they_wait(connect: Connect, clock: Clock) -> None:
    """They give their turn back: the next one doesn't wait for as many as have left."""
    for _ in range(settings.HTTP_BURST):
        connect().get()
    for _ in range(10 * settings.HTTP_BURST):
        leaver = connect()
        assert leaver.get() == b""
        leaver.lose()
    patient = connect()
    assert patient.get() == b""
    clock.advance(1 / settings.HTTP_PACE + 0.001)
    assert patient.heard().endswith(b"hello\n")


def test_turns_of_many_peers_at_once(connect: Connect, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are answered at once, one answer isn't made within another one, which would fill Python's stack."""
    for _ in range(settings.HTTP_BURST):
        connect().get()
    peers = [connect() for _ in range(settings.HTTP_CONNECTIONS)]
    for peer in peers:
        peer.send(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n" * 3)
    monkeypatch.setattr(bounded_site, "settings", attrs.evolve(settings, HTTP_PACE=1000.0, HTTP_BURST=1000))
    clock.advance(2)
    assert [peer.heard().count(b"hello\n") for peer in peers] == [3] * settings.HTTP_CONNECTIONS


def test_what_is_pipelined(connect: Connect) -> None:
    """Requests that come together are answered one after the other."""
    got = connect().send(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n" * 3)
    assert got.count(b"hello\n") == 3


def test_what_is_pipelined_and_not_read(connect: Connect, clock: Clock) -> None:
    """While a peer doesn't read, it gets no further answers, and isn't read from. In the end it is cut off."""
    peer = connect()
    peer.get()
    peer.channel.pauseProducing()  # as its transport does when its buffer is full
    assert peer.send(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n" * 1000) == b""
    assert peer.transport.producerState == "paused"
    clock.advance(settings.HTTP_REQUEST - 1)
    assert peer.heard() == b""
    assert not peer.ended
    clock.advance(1)
    assert peer.transport.disconnected
    peer.lose()
    assert clock.getDelayedCalls() == []


def test_what_is_pipelined_and_read_late(connect: Connect, clock: Clock) -> None:
    """A peer that reads on gets its other answers, and is read again."""
    peer, request = connect(), b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n"
    peer.channel.pauseProducing()
    assert peer.send(request * 3) == b""
    peer.channel.resumeProducing()
    assert peer.heard().count(b"hello\n") == 3
    assert peer.transport.producerState == "producing"
    clock.advance(settings.HTTP_REQUEST - 1)
    assert peer.get().endswith(b"hello\n")


def test_a_large_answer_that_is_not_read(root: Root, connect: Connect) -> None:
    """Answers that fill the transport stop the others; what waits is one answer more than it cares to keep."""
    peer = connect()
    root.putChild(b"large", WebPage(lambda _: WebAnswer(b"x" * 100_000)))

    def write(data: bytes) -> None:
        written.append(len(data))
        if sum(written) > 65_536:
            peer.channel.pauseProducing()

    written: list[int] = []
    peer.transport.write = write
    peer.send(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n" * 20)
    assert 100_000 <= sum(written) < 200_000


def test_endless_requests_during_an_answer(root: Root, connect: Connect) -> None:
    """A peer whose request is being answered isn't read without end, whether it reads or not."""
    root.putChild(b"slow", DeferredPage(lambda _: Deferred(), None, b"text/plain"))
    for full in (False, True):
        peer = connect()
        peer.get("/slow")
        if full:
            peer.channel.pauseProducing()
        sent = 0
        while peer.transport.producerState == "producing":
            peer.send(b"x" * 1000)
            sent += 1000
            assert sent < 100_000
        peer.channel.resumeProducing()
        assert (peer.transport.producerState == "producing") is full  # what came before is kept, and no more


def test_closed_behind_its_answer(connect: Connect, clock: Clock) -> None:
    """With ``Connection: close`` there is a bounded time to read the answer, too."""
    peer = connect()
    assert peer.get(headers="Connection: close\r\n").endswith(b"hello\n")
    assert peer.transport.disconnecting
    clock.advance(settings.HTTP_REQUEST - 1)
    assert not peer.transport.disconnected
    clock.advance(1)
    assert peer.transport.disconnected
    reader = connect()
    reader.get(headers="Connection: close\r\n")
    reader.lose()
    peer.lose()
    clock.advance(1)
    assert clock.getDelayedCalls() == []


def test_nothing_is_logged(connect: Connect, site: BoundedSite, caplog: pytest.LogCaptureFixture) -> None:
    """Neither requests nor timeouts have lines: an address may have a key in it."""
    with caplog.at_level(logging.DEBUG):
        site.startFactory()
        connect().get("/page?key=secret")
        connect().get(method="HEAD")
        site.stopFactory()
    assert caplog.text == ""


def test_no_work_while_nobody_asks(clock: Clock) -> None:
    """A site has no calls of the clock by itself."""
    site = BoundedSite(Root(), clock)
    site.startFactory()
    assert clock.getDelayedCalls() == []
    assert Request is not site.requestFactory
