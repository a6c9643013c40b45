"""Which replica of a shard is read at, where a client takes the nearest one. Pure.

Rules:

- any member may be read at, and the primary is one of them. A learner may not: it may lack anything;
- the nearest is the one that answers soonest. Times are measured now and then, by `Ping`. What a read takes beyond a
  quarter of a second counts, too, less with each measurement: a replica may be quick to answer `Ping` alone;
- a client stays with the one that it has chosen until another one is twice as fast, so that it doesn't go to and fro
  between states of which one is older than the other;
- one that refuses a read, or can't be reached, isn't chosen until it is measured again. The primary is asked in its
  place, as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Literal, TypeAlias

import attrs

from pyshard.errors import InvalidArgument, shown_value
from pyshard.model.shard_map import MapShard

#: Where a client reads.
ReadFrom: TypeAlias = Literal["primary", "nearest"]

#: Seconds after which times are measured again.
MEASURED_EVERY = 5.0

#: Seconds for which a replica may say nothing to a read. Then the primary is asked.
PATIENCE = 1.0

_FASTER = 2.0  # times as fast must another one be

_IN_TIME = 0.25  # seconds that a read may take: the largest document takes half of that in a fast network
_NOT_LATE = 1e-4  # seconds that count as none


def check_read_from(given: object) -> ReadFrom:
    """Where a client reads, as it was told.

    :raises InvalidArgument: it is nothing of that.
    """
    if given == "primary":
        return "primary"
    if given == "nearest":
        return "nearest"
    raise InvalidArgument(f"read_from: found {shown_value(given)}, expected 'primary' or 'nearest'")


def members_to_read_at(own: MapShard) -> list[MapShard]:
    """The members of a shard that don't lead, each as a shard of its own at its own address."""
    group = own.group
    if group is None:
        return []
    return [
        attrs.evolve(
            own,
            host=replica.host,
            port=replica.port,
            identity=replica.store.identity,
            durable=replica.durable,
            group=None,
        )
        for replica in group.replicas
        if replica.store is not None and replica.address in group.others
    ]


def give_up_at(expires: float, now: float) -> float:
    """When a replica that is silent is given up: the primary has half of the operation's time at the least.

    :param expires: the operation's deadline.
    """
    return now + min(PATIENCE, (expires - now) / 2)


class NearestReplica:
    """Which replica of one shard is read at."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._late: dict[str, float] = {}  # seconds that count besides, since reads have taken too long
        self._chosen = ""
        self._measured_at = -inf

    def is_due(self, now: float) -> bool:
        """Whether times are to be measured."""
        return now - self._measured_at >= MEASURED_EVERY

    def begin(self, now: float) -> None:
        """They are measured now."""
        self._measured_at = now

    def took(self, address: str, seconds: float) -> None:
        """One has answered after so long."""
        known = self._times.get(address)
        self._times[address] = seconds if known is None else (known + seconds) / 2
        if address in self._late:
            self._late[address] /= 2
            if self._late[address] < _NOT_LATE:
                del self._late[address]

    def read_took(self, address: str, seconds: float) -> None:
        """One has answered reads of single keys after so long."""
        late = seconds - _IN_TIME
        if late > self._late.get(address, 0.0):
            self._late[address] = late

    def lost(self, address: str) -> None:
        """One doesn't answer, or refuses: it isn't chosen until it is measured again."""
        self._times.pop(address, None)

    def choose(self, usable: Iterable[str]) -> str | None:
        """The address of the one to read at; None: the time of none of them is known.

        :param usable: the addresses of those that can be asked. Of several that are as fast, the first is taken.
        """
        times = self._times
        known = [address for address in usable if address in times]
        if self._late:
            times = {address: times[address] + self._late.get(address, 0.0) for address in known}
        if not known:
            return None
        best = min(known, key=times.__getitem__)
        if self._chosen not in known or times[self._chosen] > _FASTER * times[best]:
            self._chosen = best
        return self._chosen
