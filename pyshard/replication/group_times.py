"""How long leases and waits of a group of replicas are. Pure.

Rules:

- a member promises not to lead within the *grace* after an answer of the primary's. The primary answers clients by that
  promise for the *lease*, which it counts from when it sent that answer, and which is shorter;
- clocks of two machines may run at speeds that differ a little (`drift`). The lease ends before the grace all the same;
- all are seconds of a steady clock that goes on while a machine is suspended (`pyshard.clocks`).
"""

from __future__ import annotations

import attrs

#: How much faster or slower than true time a clock may run: ten times what a bad quartz does.
DRIFT = 0.01

#: Seconds that a switch to another primary may take, after which the present one goes on.
SWITCH_WITHIN = 5.0


@attrs.frozen
class GroupTimes:
    """The times of one group.

    :param lease: seconds for which a primary answers by a member's promise.
    :param grace: seconds for which a member that promised doesn't lead.
    :param drift: how much a clock's speed may be off, as a part of it.
    :raises ValueError: a lease could outlast a grace.
    """

    lease: float = 3.0
    grace: float = 4.0
    drift: float = DRIFT

    def __attrs_post_init__(self) -> None:
        if not 0 < self.lease * (1 + self.drift) + self.margin < self.grace * (1 - self.drift):
            raise ValueError(
                f"lease and grace: found {self.lease} and {self.grace} s, expected a lease that ends before the grace, "
                f"also where clocks are off by {self.drift:.0%}"
            )

    @property
    def margin(self) -> float:
        """Seconds to spare between the end of a lease and that of a grace."""
        return self.lease / 15

    @property
    def silence(self) -> float:
        """Seconds without a word of a member after which the primary goes on without it."""
        return self.lease / 2

    @property
    def staleness(self) -> float:
        """How old what a member gives to reads may be that ask for no more, in seconds."""
        return 2 * self.lease

    @property
    def wait(self) -> float:
        """Seconds for which a member's question for more waits at the primary, if there is nothing."""
        return self.lease / 6


def of_lease(seconds: float) -> GroupTimes:
    """The times of a group whose lease is this long."""
    return GroupTimes(seconds, seconds * 4 / 3)
