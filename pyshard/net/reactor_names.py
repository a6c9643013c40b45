"""Looks up the names that a Deferred client or a daemon dials, in threads of their own.

Twisted's own resolver works in the reactor's thread pool, of ten threads. There slow names would hold up all else that
the program has done in threads, and nothing would give up a name that nobody waits for any more.

Rule: a program that has installed another resolver means it. That one is asked.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from pyshard.net.awaited_names import AwaitedNames
from pyshard.net.name_questions import QUESTIONS, FoundAddress, NameQuestions
from pyshard.net.twisted_internals import resolves_in_its_thread_pool


@implementer(IHostnameResolver)
class ReactorNames:
    """The names of one client, or of all that a daemon dials.

    :param reactor: has the resolver that the program may have installed.
    :param questions: asks for the names.
    """

    def __init__(self, reactor: object, questions: NameQuestions = QUESTIONS) -> None:
        self._reactor = reactor
        self._names = AwaitedNames(self._call_here, questions)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803  # the interface's
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """See `IHostnameResolver`; of TCP, and of all types of addresses."""
        own = cast(IReactorPluggableNameResolver, self._reactor).nameResolver
        if not resolves_in_its_thread_pool(own):
            return own.resolveHostName(resolutionReceiver, hostName, portNumber)
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def told(outcome: list[FoundAddress] | OSError) -> None:
            for found in () if isinstance(outcome, OSError) else outcome:
                resolutionReceiver.addressResolved(_address(found))
            resolutionReceiver.resolutionComplete()

        resolution.give_up = self._names.look_up(hostName, portNumber, told)
        return resolution

    def _call_here(self, function: Callable[[], None]) -> None:
        cast(IReactorFromThreads, self._reactor).callFromThread(function)


def _address(found: FoundAddress) -> IAddress:
    family, *_, name = found
    kind: Callable[..., IAddress] = IPv6Address if family == socket.AF_INET6 else IPv4Address
    return kind("TCP", *name)


@implementer(IHostResolution)
class _Resolution:
    """A name that is looked up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.give_up: Callable[[], None] = lambda: None

    def cancel(self) -> None:
        """See `IHostResolution`: nobody waits for it any more."""
        self.give_up()
