"""The primary of a shard as another replica reaches it: a connection that is dialed for as long as it is wanted.

A primary answers a pull soon, if only to say that there is nothing. Where nothing at all comes in time, the connection
is dialed anew: behind a network that was cut, TCP would try again only after about as long as it was cut.
"""

from __future__ import annotations

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, PyshardError, Unavailable, WrongIdentity
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.disconnect_reason import reason_of
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.change_pages import MOST_GROUPS_BYTES, decode_changes, decode_head
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.greeting import Greeting
from pyshard.replication.pulls import Pull, Pulled
from pyshard.settings import settings
from pyshard.shard.served_replicas import decode_pulled

_T = TypeVar("_T")


class PrimaryConnection:
    """`pyshard.replication.interfaces.Primary` over the network.

    :param me: the address of the replica that asks.
    :param address: the primary's.
    :param clock: times attempts to connect, and answers.
    :param endpoint: leads to the primary.
    :param random: jitter.
    :param timeout: seconds that an answer to a pull may take.
    """

    _log = Logger()

    def __init__(
        self,
        me: str,
        address: str,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        random: Random,
        timeout: float,
    ) -> None:
        self._me = me
        self._address = address
        self._timeout = timeout
        self._copy = ""
        self._closed = False
        self._why = "it isn't reached yet"
        self._dialer = Dialer(clock, endpoint, self, random)
        self._dialer.dial()

    def pull(self, question: Pull) -> Deferred[Pulled]:
        """See `Primary`."""
        return self._asking(self._pull(msgspec.msgpack.encode(question)))

    def open_copy(self) -> Deferred[ChangeGroup]:
        """See `Primary`."""
        return self._asking(self._open_copy())

    def copied_rows(self) -> Deferred[list[Change]]:
        """See `Primary`."""
        return self._asking(self._copied_rows())

    def close(self) -> None:
        """Want no connection any more."""
        self._closed = True
        self._dialer.close()

    # ------------------------------------------------------------------ what the dialer asks

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return not self._closed

    def approve(self, connection: DialedConnection, greeting: Greeting) -> None:
        """See `DialerOwner`. Whose store it is, the primary's answers tell."""
        if greeting.role != "shard":
            raise WrongIdentity(f"a {greeting.role} answers at {self._address}, where a replica should be")

    def connected(self, connection: DialedConnection) -> None:
        """See `DialerOwner`."""

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`."""
        self._why = reason

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`: it is dialed again all the same."""

    # ------------------------------------------------------------------ inside

    async def _pull(self, question: bytes) -> Pulled:
        answer = await self._ask_or_hang_up(commands.PullGroups, pull=question, offset=0)
        pulled, data, more = answer["pulled"], bytearray(answer["groups"]), answer["more"]
        while more:
            answer = await self._ask_or_hang_up(commands.PullGroups, pull=b"", offset=len(data))
            data += answer["groups"]
            more = answer["more"]
            if len(data) > MOST_GROUPS_BYTES or (more and not answer["groups"]):
                raise BadRequest(f"groups: found {len(data):,} bytes or more, expected {MOST_GROUPS_BYTES:,} at most")
        return decode_pulled(pulled, bytes(data))

    async def _open_copy(self) -> ChangeGroup:
        answer = await self._ask(commands.OpenReplicaCopy, settings.TIMEOUT, replica=self._me)
        self._copy = answer["copy"]
        return decode_head(answer["head"])

    async def _copied_rows(self) -> list[Change]:
        return decode_changes((await self._ask(commands.ReadCopy, settings.TIMEOUT, copy=self._copy))["changes"])

    async def _ask_or_hang_up(self, command: type[Command], **arguments: object) -> dict[str, Any]:
        """Ask, and drop the connection if nothing comes over it in time."""
        connection = self._dialer.connection
        heard = None if connection is None else connection.heard
        try:
            return await self._ask(command, self._timeout, **arguments)
        except TimeoutError as error:
            if connection is not None and connection is self._dialer.connection and connection.heard == heard:
                self._dialer.drop(error)
            raise

    async def _ask(self, command: type[Command], timeout: float, **arguments: object) -> dict[str, Any]:
        connection = self._dialer.connection
        if connection is None:
            raise Unavailable(f"the replica at {self._address} can't be reached now: {self._why}")
        return await connection.call(command, timeout, **arguments)

    def _asking(self, asking: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        """Have what the network does be told as an error of pyshard's."""

        def failed(failure: Failure) -> Failure:
            if isinstance(failure.value, (PyshardError, CancelledError)):
                return failure
            return Failure(Unavailable(f"the replica at {self._address} can't be asked: {reason_of(failure)}"))

        return Deferred.fromCoroutine(asking).addErrback(failed)
