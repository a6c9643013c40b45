"""A member of a shard that doesn't lead, for calls that any member answers, such as a backup's.

Rule: it is dialed as long as something is called over it, and whoever made it closes it.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.client.replica_link import ReadsOwner
from pyshard.client.rpc_channel import RpcChannel
from pyshard.client_core.shard_identity_check import check_greeting
from pyshard.errors import PyshardError
from pyshard.model.shard_map import MapShard
from pyshard.net.client_endpoints import Dial
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings


class MemberPeer:
    """The way to one member.

    :param owner: has the map.
    :param place: the shard, at the member's address and with its store.
    :param clock: times everything.
    :param dial: leads to it.
    :param random: jitter.
    :ivar rpc: calls it.
    """

    def __init__(self, owner: ReadsOwner, place: MapShard, clock: IReactorTime, dial: Dial, random: Random) -> None:
        self._owner = owner
        self._place = place
        self.rpc = RpcChannel(clock, self, settings.DEADLINE)
        self.dialer = Dialer(clock, dial(*owner.addresses.dialed(place.host, place.port)), self, random)

    def close(self) -> Deferred[None]:
        """End everything; the Deferred fires when the connection is closed."""
        closed = self.dialer.close()
        self.rpc.close()
        return closed

    def peer_name(self) -> str:
        """See `RpcOwner`."""
        at = self._owner.addresses.shown(self._place.host, self._place.port)
        return f"the replica of shard {self._place.name!r} at {at}"

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return self.rpc.pending

    def approve(self, connection: DialedConnection, greeting: Greeting) -> None:
        """See `DialerOwner`."""
        check_greeting(greeting, self._place, self._owner.state.cluster, self._owner.addresses)

    def connected(self, connection: DialedConnection) -> None:
        """See `DialerOwner`."""
        self.rpc.connected(connection)

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`."""
        self.rpc.disconnected(reason)

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`."""
        self.rpc.refused(error)
