"""How a client comes to a map: whom it asks, in which order, how long it waits for each, and what it takes up.

Rules:

- Any bootstrap and any shard has the map. Addresses that may be a bootstrap's are asked first.
- The next peer is asked too when the one before it is silent for a little.
- Where a bootstrap's map is no newer, the next bootstrap is asked first the next time. The one before it may be cut off
  from the cluster's state.
- An older map never replaces a newer one, and another cluster's map none; with one exception:
- A map that a shard alone has given counts for the time being. The bootstrap's own replaces it, whatever its epoch, and
  the bootstrap is looked for until it has said so. Shards can't lead a client away for good.
- What only a bootstrap can do is called at one address, once.
- To read maps takes a bounded part of a client's time, however large they are, and however often they change.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from pyshard.errors import ConfigError, ForeignCluster
from pyshard.protocol import commands
from pyshard.settings import settings

_T = TypeVar("_T")

BOOTSTRAP, SHARD = "bootstrap", "shard"  #: the roles that Hello tells

#: Seconds until a peer is asked again that isn't configured.
ASK_AGAIN = 0.1

#: Seconds by which clients, and threads of one, spread that need a map at the same moment.
JITTER = 0.05

_CONNECTED = 1.0  # seconds that a peer has to answer, where there is a connection, before the next is asked too
_DIALED = 0.1  # where there is none

#: Seconds between two looks for a bootstrap, while the map is a shard's word alone; and how long one takes in a client
#: that has no thread for it, at the most.
CONFIRM_EVERY, CONFIRM_WITHIN = 10.0, 1.0

#: Seconds for which no map of a shard's is taken up after a bootstrap has replaced one. So maps don't go to and fro
#: where a bootstrap is older than its shards, or slow.
SHARDS_REST = 60.0

_SHARE = 10  # times as long as it took to read a map, until the next one is asked for


class MapPace:
    """When a newer map may be asked for again.

    :ivar earliest: that time, in seconds of any clock that never goes back.
    """

    def __init__(self) -> None:
        self.earliest = 0.0

    def took(self, began: float, ended: float) -> None:
        """A map was read, or taken up, within this time."""
        self.earliest = max(self.earliest, ended) + min(_SHARE * max(0.0, ended - began), settings.RETRY_LONGEST)


class MapRank(NamedTuple):
    """How much a map counts: of two, the one with the higher rank does.

    :param era: how often a bootstrap has replaced a map that was a shard's word alone.
    :param epoch: the map's.
    :param confirmed: whether a bootstrap has given it.
    """

    era: int
    epoch: int
    confirmed: bool


def rank_of(
    newest: MapRank | None, epoch: int, same: bool, by_bootstrap: bool, shards_rest: bool = False
) -> MapRank | None:
    """The rank of a map that has come; None: it isn't taken up.

    :param newest: the rank of the map that the client has; None: it has none.
    :param epoch: that of the map that has come.
    :param same: whether it is the one that the client has.
    :param by_bootstrap: whether a bootstrap gave it.
    :param shards_rest: whether a bootstrap has replaced a shard's map within the last `SHARDS_REST` seconds.
    """
    if newest is None:
        return MapRank(0, epoch, by_bootstrap)
    if epoch > newest.epoch:
        return None if shards_rest and not by_bootstrap else MapRank(newest.era, epoch, by_bootstrap)
    if newest.confirmed or not by_bootstrap:
        return None
    return MapRank(newest.era if same else newest.era + 1, epoch, True)


def head_start(connected: bool) -> float:
    """How long a peer has to answer before the next one is asked too, in seconds.

    :param connected: whether there is a connection to it.
    """
    return _CONNECTED if connected else _DIALED


def by_preference(
    servers: Sequence[tuple[str, _T]], connected: Sequence[_T], unconnected: Sequence[_T] = (), in_vain: int = 0
) -> list[_T]:
    """Whom to ask for a newer map, in this order.

    :param servers: the addresses that the client was given, each with its role; empty: nobody has answered there yet.
    :param connected: the map's shards to which there is a connection.
    :param unconnected: those that would have to be dialed.
    :param in_vain: how often a map was asked for, and what came was no newer.
    """
    bootstraps = perhaps_bootstraps(servers)
    first = in_vain % max(1, len(bootstraps))
    bootstraps = bootstraps[first:] + bootstraps[:first]
    shards = [peer for role, peer in servers if role == SHARD]
    return [*bootstraps, *(connected or shards or unconnected)]


def perhaps_bootstraps(servers: Sequence[tuple[str, _T]]) -> list[_T]:
    """Those addresses that may be a bootstrap's.

    :param servers: see `by_preference`.
    """
    return [peer for role, peer in servers if role != SHARD]


def bootstraps_first(servers: Sequence[tuple[str, _T]]) -> list[_T]:
    """Where to look for a bootstrap, in this order: known ones, unknown addresses, shards.

    :param servers: see `by_preference`.
    """
    ranked = sorted(servers, key=lambda server: (BOOTSTRAP, "", SHARD).index(server[0]))
    return [peer for _, peer in ranked]


def session_of(shard: str, secret: bytes) -> bytes:
    """The id of a client's session with a shard (`pyshard.server.session_fence`).

    It is the same for as long as the client lives: a shard that comes back into the map may still have a connection
    that was given up when it went. It isn't kept, since maps may name shards without end. No shard can tell it of
    another one.

    :param shard: its name.
    :param secret: the client's own, at random.
    """
    return blake2b(shard.encode(), key=secret, digest_size=commands.OWN_SESSION_ID).digest()


def check_bootstrap(role: str, address: str) -> None:
    """Make sure that whoever answered is a bootstrap.

    :raises ConfigError: it is a shard.
    """
    if role != BOOTSTRAP:
        raise ConfigError(
            f"{address} is a {role}'s address, and only the bootstrap can do this; connect with the bootstrap's address"
        )


def server_name(role: str, address: str, alone: bool) -> str:
    """How messages call whoever is at an address that the client was given.

    :param role: of whoever answered there last; empty: nobody has.
    :param alone: no other address was given.
    """
    if role:
        return f"the {role} at {address}"
    return f"the bootstrap at {address}" if alone else address


def check_cluster(known: str, given: str) -> None:
    """Make sure that a daemon belongs to the cluster that is known.

    :param known: the id of the client's cluster; empty before one is known.
    :param given: the daemon's; empty while it isn't configured.
    :raises ForeignCluster: it belongs to another one.
    """
    if known and given and given != known:
        raise ForeignCluster(f"it has cluster {given} now; this client knows {known}")
