"""What `pyshard doctor` has gathered, as plain values: what daemons told, and what was seen of this machine. Pure.

Rule: what a daemon tells may be anything, and of any version. What can't be read is a finding, never a crash.
So numbers have bounds: those of hundreds of digits can't be computed with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import msgspec

from pyshard.errors import of_peer
from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import Amount, Count
from pyshard.model.shard_map import MapShard
from pyshard.protocol.listed_moves import ListedMove


class Bars(msgspec.Struct):
    """A histogram."""

    counts: list[Count] = []
    sum: Amount = 0.0


class Commits(msgspec.Struct):
    """What a durable shard tells of its commits."""

    seconds: Bars = msgspec.field(default_factory=Bars)


class Disk(msgspec.Struct):
    """The room where a shard's data lies, in bytes."""

    free: Count
    size: Count


class ToldStateStore(msgspec.Struct):
    """What a bootstrap tells of where the cluster's state is kept.

    :param away: seconds since it was of use; 0: it is.
    """

    name: str = ""
    away: Amount = 0.0
    error: str = ""


class OtherTold(msgspec.Struct):
    """What a primary tells of another replica."""

    address: str
    groups_behind: Count = 0
    silent: Amount = 0.0
    needs_copy: bool = False


class ReplicaTold(msgspec.Struct):
    """What one of several replicas tells of itself."""

    waits: str = ""
    others: list[OtherTold] = []


class Told(msgspec.Struct):
    """What a daemon tells of itself, as far as it is checked (docs/protocol.md, "Stat"). None: it doesn't tell."""

    version: str = ""
    time: Amount | None = None
    id: str = ""
    epoch: Count | None = None
    documents: Count = 0
    bytes: Count = 0
    connected: Count | None = None
    most_connected: Count | None = None
    files: Count | None = None
    failing: bool = False
    disk: Disk | None = None
    commits: Commits | None = None
    slowed_to: dict[str, Count | None] | None = None
    state_store: ToldStateStore | None = None
    replica: ReplicaTold | None = None


@attrs.frozen
class DaemonEvidence:
    """What is known of one daemon.

    :param name: as messages call it, with its address.
    :param own: its place in the map; None: it is the bootstrap.
    :param told: what it told; None: it gave no answer.
    :param error: why not.
    :param asked: when it was asked, in seconds since 1970 by this machine's clock.
    :param answered: when the answer was there.
    """

    name: str
    own: MapShard | None
    told: Told | None
    error: str = ""
    asked: float = 0.0
    answered: float = 0.0


@attrs.frozen
class AddressEvidence:
    """What is known of an address.

    :param name: whose it is.
    :param host: as it is dialed.
    :param resolved: the IP addresses that it stands for.
    :param error: why it can't be resolved.
    :param certificate_end: when the certificate expires that is shown there, in seconds since 1970; None: not known.
    :param certificate_error: what is wrong with the certificate; empty: nothing is, or nobody showed one.
    """

    name: str
    host: str
    resolved: tuple[str, ...] = ()
    error: str = ""
    certificate_end: float | None = None
    certificate_error: str = ""


@attrs.frozen
class FileEvidence:
    """A file of this machine with a secret.

    :param what: what it is, such as ``token file``.
    :param error: why it can't be used; empty: it can.
    """

    what: str
    path: Path
    error: str = ""


@attrs.frozen
class DirectoryEvidence:
    """A data directory of this machine.

    :param free: bytes that are free there.
    :param size: bytes of the whole file system.
    :param sync: seconds that it takes to have a few bytes on the disk; None: not known.
    :param error: why it can't be looked at or written to.
    """

    path: Path
    free: int = 0
    size: int = 0
    sync: float | None = None
    error: str = ""


@attrs.frozen
class Evidence:
    """All that was gathered.

    :param now: seconds since 1970, by this machine's clock.
    :param version: of this pyshard.
    :param state: the cluster's; None: nobody gave it.
    :param map_error: why not.
    :param daemons: the bootstrap first, where it was asked, then the shards.
    :param moves: those that the bootstrap lists; None: it didn't.
    :param moves_error: why not.
    :param unchecked: what there was no time for.
    :param own_certificate_end: when this side's certificate expires; None: there is none, or it isn't known.
    """

    now: float
    version: str
    state: ClusterState | None = None
    map_error: str = ""
    daemons: tuple[DaemonEvidence, ...] = ()
    addresses: tuple[AddressEvidence, ...] = ()
    tls: bool = False
    moves: tuple[ListedMove, ...] | None = None
    moves_error: str = ""
    files: tuple[FileEvidence, ...] = ()
    directories: tuple[DirectoryEvidence, ...] = ()
    unchecked: tuple[str, ...] = ()
    own_certificate: str = ""
    own_certificate_end: float | None = None

    @property
    def shards(self) -> list[tuple[DaemonEvidence, MapShard, Told]]:
        """The shards that told of themselves."""
        return [(one, one.own, one.told) for one in self.daemons if one.own is not None and one.told is not None]

    @property
    def telling(self) -> list[tuple[DaemonEvidence, Told]]:
        """The daemons that told of themselves."""
        return [(one, one.told) for one in self.daemons if one.told is not None]


def daemon_evidence(
    name: str, own: MapShard | None, stat: Mapping[str, object], asked: float, answered: float
) -> DaemonEvidence:
    """What a daemon told, read.

    :param stat: the answer, or ``{"error": why}``.
    """
    error = stat.get("error")
    if isinstance(error, str):
        return DaemonEvidence(name, own, None, error, asked, answered)
    try:
        told = msgspec.convert(stat, Told)
    except msgspec.ValidationError as failure:
        return DaemonEvidence(name, own, None, f"what it tells can't be read: {of_peer(str(failure))}")
    return DaemonEvidence(name, own, told, "", asked, answered)
