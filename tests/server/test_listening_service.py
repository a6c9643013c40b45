"""What every service promises that listens, whatever it serves."""

from __future__ import annotations

import pytest
from deferreds import watch
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from pyshard.server.listening_service import ListeningService


class Port:
    """As much of a port as a service uses."""

    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()
        self.closing = False

    def stopListening(self) -> Deferred[None]:
        """Close it, which takes a while."""
        self.closing = True
        return self.closed


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint that listens when a test says so.

    :ivar asked: what it was to serve, each time.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[IProtocolFactory, Deferred[IListeningPort]]] = []

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint`."""
        self.asked.append((factory, Deferred()))
        return self.asked[-1][1]


@implementer(IStreamServerEndpoint)
class Taken:
    """An endpoint at a port that is in use."""

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint`."""
        return fail(CannotListenError("127.0.0.1", 5050, OSError("address already in use")))


@pytest.mark.parametrize("privileged", [True, False])
def test_it_listens_once(privileged: bool) -> None:
    """Whether it is given the time to do so with privileges, or is only started, as by another service."""
    endpoint, factory, port = Endpoint(), Factory(), Port()
    service = ListeningService(endpoint, factory)
    if privileged:
        service.privilegedStartService()
        assert len(endpoint.asked) == 1
        endpoint.asked[0][1].callback(port)  # type: ignore[arg-type]  # as much of one as is used
    service.startService()
    assert [served for served, _ in endpoint.asked] == [factory]
    assert service.running


def test_it_stops_when_the_port_is_closed() -> None:
    """Not before. Then it may be started again, and listens anew."""
    endpoint, port = Endpoint(), Port()
    service = ListeningService(endpoint, Factory())
    service.startService()
    endpoint.asked[0][1].callback(port)  # type: ignore[arg-type]  # as much of one as is used
    stopped = watch(service.stopService())
    assert port.closing
    assert stopped == []
    port.closed.callback(None)
    assert stopped == [None]
    service.startService()
    assert len(endpoint.asked) == 2


def test_one_that_never_listened_stops_at_once() -> None:
    """There is nothing to close."""
    service = ListeningService(Endpoint(), Factory())
    service.startService()
    assert watch(service.stopService()) == [None]


@pytest.mark.parametrize("privileged", [True, False])
def test_a_port_in_use(privileged: bool) -> None:
    """The daemon doesn't start."""
    service = ListeningService(Taken(), Factory())
    with pytest.raises(CannotListenError):
        (service.privilegedStartService if privileged else service.startService)()
