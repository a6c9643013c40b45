"""Streams of events by HTTP: so many, none of which holds more than a bounded part of the daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from pyshard.http.bounded_site import BoundedSite
from pyshard.http.event_streams import EventStreams, event_of
from pyshard.http.token_guard import TokenGuard
from pyshard.http.web_page import Root
from pyshard.settings import settings

Connect = Callable[[], Any]


@pytest.fixture
def streams(clock: Clock) -> EventStreams:
    """The page."""
    return EventStreams(clock, TokenGuard(None), lambda: event_of(b"first"))


@pytest.fixture
def site(clock: Clock, streams: EventStreams) -> BoundedSite:
    """A site with streams."""
    root = Root()
    root.putChild(b"page", streams)
    return BoundedSite(root, clock)


def test_a_stream(connect: Connect, streams: EventStreams, clock: Clock) -> None:
    """It begins with an event, goes on for as long as it is open, and is forgotten when the peer leaves."""
    peer = connect()
    assert b"data: first\n\n" in peer.get()
    clock.advance(10 * settings.HTTP_REQUEST)
    streams.send(event_of(b"next"))
    assert b"data: next\n\n" in peer.heard()
    assert len(streams) == 1
    peer.lose()
    assert len(streams) == 0
    streams.send(event_of(b"nobody"))


def test_most_streams(connect: Connect, streams: EventStreams) -> None:
    """A further one is refused, until one ends."""
    peers = [connect() for _ in range(settings.HTTP_STREAMS)]
    assert all(b"200 OK" in peer.get() for peer in peers)
    assert b"503 Service Unavailable" in connect().get()
    peers[0].lose()
    assert b"200 OK" in connect().get()


def test_a_peer_that_does_not_read(connect: Connect, streams: EventStreams, clock: Clock) -> None:
    """It gets nothing while it doesn't read, the newest event when it does, and is cut off after a while."""
    peer, other = connect(), connect()
    peer.get()
    other.get()
    peer.channel.pauseProducing()  # as its transport does when its buffer is full
    clock.advance(settings.HTTP_STREAM_STALLED - 1)
    streams.send(event_of(b"old"))
    assert peer.heard() == b""
    assert b"old" in other.heard()
    peer.channel.resumeProducing()
    streams.send(event_of(b"new"))
    assert b"new" in peer.heard()
    peer.channel.pauseProducing()
    streams.send(event_of(b"newer"))
    clock.advance(settings.HTTP_STREAM_STALLED)
    assert not peer.ended
    streams.send(event_of(b"newest"))
    assert peer.ended
    assert peer.heard() == b""
    assert not other.ended


def test_a_peer_that_asks_on(connect: Connect, streams: EventStreams) -> None:
    """What it asks for meanwhile waits: there is one answer at a time over a connection."""
    peer = connect()
    peer.get()
    assert peer.get() == b""
    assert len(streams) == 1
