"""Who may open a snapshot of a shard, and when one must end: what it may cost, and in how much time. Pure.

Rules:

- the last place is for the role `admin`, so that others can't keep its backup out;
- others have a few places for each address, so that one peer can't have all of them;
- one that isn't read from for a while ends, and so does one that is read so slowly that it would never be done;
- what a shard keeps for snapshots, on the disk or in memory, has a bound that grows with the store, since a backup of a
  large store takes long. The snapshots of `admin` have a bound of their own;
- to keep a document takes time of whoever writes it. So an address that has had snapshots rests before it opens the
  next ones, by how many documents were kept for those: else each write would come upon a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import attrs

from pyshard.settings import settings


@attrs.frozen
class SnapshotLimits:
    """The limits of one shard's snapshots; the settings of the same names say more.

    :param most: of all peers together.
    :param per_address: of one address, for other roles than admin.
    :param idle: seconds without a read.
    :param pace: bytes that must be read in a second, on the average.
    :param pins: bytes that those of other roles than admin may keep, where the store has no more in use.
    :param admin_pins: times that, for role admin.
    :param rest: seconds without a further snapshot for each document that was kept for one, of an address.
    :param owed: how many of these seconds it may owe.
    """

    most: int = settings.MAX_SNAPSHOTS
    per_address: int = settings.MAX_SNAPSHOTS_PER_ADDRESS
    idle: float = settings.SNAPSHOT_IDLE
    pace: int = settings.SNAPSHOT_PACE
    pins: int = settings.SNAPSHOT_PINS
    admin_pins: int = settings.ADMIN_SNAPSHOT_PINS
    rest: float = settings.SNAPSHOT_REST
    owed: float = settings.SNAPSHOT_REST_OWED


class SnapshotPeer(NamedTuple):
    """Whose a snapshot is, as far as limits go by it.

    :param address: the peer's; None: it has none.
    :param admin: whether its role is admin.
    """

    address: str | None
    admin: bool


def refusal(others: Collection[SnapshotPeer], peer: SnapshotPeer, limits: SnapshotLimits) -> str:
    """Why a peer can't open a snapshot beside those that are open; empty: it can."""
    if peer.admin:
        return f"{len(others)} snapshots open, the most it may have" if len(others) >= limits.most else ""
    of_address = sum(other.address == peer.address and not other.admin for other in others)
    if of_address >= limits.per_address:
        return f"{of_address} snapshots open for this address, the most it may have for one"
    if len(others) >= limits.most - 1:
        return f"{len(others)} snapshots open, the most it may have for other roles than admin"
    return ""


def overdue(opened: float, last_read: float, given: int, now: float, limits: SnapshotLimits) -> tuple[float, str]:
    """When a snapshot must end if nothing is read from it any more, and why: seconds from now; 0 or less: at once.

    :param opened: when it was opened.
    :param last_read: when something was read from it last.
    :param given: bytes that were read from it.
    """
    idle, slow = last_read + limits.idle - now, opened + limits.idle + given / limits.pace - now
    if idle <= slow:
        return idle, f"nothing was read from it for {limits.idle:g} s"
    return slow, (
        f"it was read too slowly, {given:,} bytes in {now - opened:.0f} s, expected at least {limits.pace:,} a second"
    )


def heaviest(
    pinned: Mapping[str, tuple[SnapshotPeer, int]], used: int, limits: SnapshotLimits
) -> tuple[str, str] | None:
    """Which snapshot must end since too much is kept for it and those like it, and why; None: no one.

    :param pinned: id → whose it is, and how many bytes are kept for it.
    :param used: bytes that the store has in use.
    """
    for admin in (False, True):
        kept = {number: size for number, (peer, size) in pinned.items() if peer.admin is admin}
        most = max(limits.pins, used) * (limits.admin_pins if admin else 1)
        if sum(kept.values()) > most:
            number = max(kept, key=kept.__getitem__)
            others = "" if admin else ", or with a token of role admin, for which it keeps more"
            return number, (
                f"the shard would have had to keep more than {most:,} bytes of old documents for it and others; "
                f"take the backup when less is written{others}"
            )
    return None


class SnapshotRests:
    """For how long each address opens no further snapshot, since documents were kept for those that it had.

    :param limits: of the shard.
    """

    def __init__(self, limits: SnapshotLimits) -> None:
        self._limits = limits
        self._until: dict[str | None, float] = {}  # address → what was kept for it is made up for then

    def __len__(self) -> int:
        """How many addresses have something to make up for, as far as that was looked at."""
        return len(self._until)

    def ended(self, peer: SnapshotPeer, kept: int, opened: float, now: float) -> None:
        """A snapshot has ended.

        :param kept: how many documents were kept for it.
        :param opened: when it was opened.
        """
        until = max(self._until.get(peer.address, opened), opened) + kept * self._limits.rest
        self._until = {address: other for address, other in self._until.items() if other > now}
        if until > now and not peer.admin:
            self._until[peer.address] = until

    def refusal(self, peer: SnapshotPeer, now: float) -> str:
        """Why a peer can't open a snapshot now; empty: it can."""
        rest = self._until.get(peer.address, now) - now - self._limits.owed
        if rest <= 0 or peer.admin:
            return ""
        return f"kept many documents for the last snapshots of this address, the next one can be had in {rest:.1f} s"
