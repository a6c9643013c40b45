"""Files that come over a Unix socket: nobody wants any, and they bring nothing into the log."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from pyshard.http.bounded_site import BoundedSite
from pyshard.http.web_page import Root
from pyshard.net.command_connection import BoundedAMP
from pyshard.security.tls.endpoints import TlsFactory


def _site() -> BoundedSite:
    return BoundedSite(Root(), Clock())


def _over_tls() -> TlsFactory:
    return TlsFactory(CertificateOptions(), False, _of_boxes(), clock=Clock())


def _of_boxes() -> IProtocolFactory:
    return Factory.forProtocol(lambda: BoundedAMP(Clock()))


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """What is logged meanwhile."""
    events: list[LogEvent] = []
    note = cast("ILogObserver", events.append)
    globalLogPublisher.addObserver(note)
    yield events
    globalLogPublisher.removeObserver(note)


@pytest.mark.parametrize("made", [_site, _over_tls, _of_boxes])
def test_files_cut_their_sender_off(
    tmp_path: Path, logged: list[LogEvent], made: Callable[[], IProtocolFactory]
) -> None:
    """They are closed, with the connection, and Twisted has no line for each of them."""
    reactor, where = EPollReactor(), str(tmp_path / "socket")
    with ExitStack() as after:
        port = reactor.listenUNIX(where, made())
        after.callback(port.connectionLost, None)
        peer = after.enter_context(socket.socket(socket.AF_UNIX))
        peer.connect(where)
        reactor.doIteration(0.02)
        files = len(list(Path("/proc/self/fd").iterdir()))
        with Path("/dev/null").open() as one:
            socket.send_fds(peer, [b"G"], [one.fileno()] * 8)
        reactor.doIteration(0.02)
        reactor.runUntilCurrent()
        with pytest.raises(BrokenPipeError):
            peer.send(b"G")
        assert len(list(Path("/proc/self/fd").iterdir())) == files - 1
        assert not [event for event in logged if "descriptor" in str(formatEvent(event))]
