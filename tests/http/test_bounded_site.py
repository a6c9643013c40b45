"""No peer of the HTTP port takes more than a bounded part of the daemon."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web.http import Request

from pyshard.http.bounded_site import BoundedSite
from pyshard.http.web_page import Root
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
    assert slow.ended
    clock.advance(10)
    assert slow.transport.disconnected  # it was aborted, as it hadn't closed by then
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


def test_many_connections_that_are_answered(site: BoundedSite, connect: Connect, clock: Clock) -> None:
    """While all have a request that is being answered, one more is closed."""
    peers = [connect() for _ in range(settings.HTTP_CONNECTIONS)]
    site.wait_for_turn = lambda: 1000.0  # type: ignore[method-assign]  # none is answered
    for peer in peers:
        assert peer.get() == b""
    assert connect().ended
    assert not any(peer.ended for peer in peers)


def test_pace(connect: Connect, clock: Clock) -> None:
    """Some requests are answered at once, the others at a pace; one whose peer goes away isn't."""
    peer = connect()
    for _ in range(settings.HTTP_BURST):
        assert peer.get()
    assert peer.get() == b""
    clock.advance(1 / settings.HTTP_PACE + 0.001)
    assert peer.heard().endswith(b"hello\n")
    assert peer.get() == b""
    waiting = len(clock.getDelayedCalls())
    peer.lose()
    assert len(clock.getDelayedCalls()) < waiting
    clock.advance(2)
    assert connect().get().endswith(b"hello\n")


def test_what_is_pipelined(connect: Connect) -> None:
    """Requests that come together are answered one after the other."""
    got = connect().send(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n" * 3)
    assert got.count(b"hello\n") == 3


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
