"""What a state store is: the one place where a cluster's state is kept, and where changes of it are decided.

Rules:

- A state is put there by a compare-and-swap against the revision of the one that it was made from. Nothing else
  decides, however many bootstraps there are.
- A swap has three outcomes: applied, refused (another state is there), and unknown (`OutcomeUnknown`). An unknown one
  may still be applied later, also after somebody has read the old state. It is settled only by seeing it there, or by a
  later swap that was applied. Until then nobody acts on either outcome.
- A swap may be tried again as it is: one whose state is there already has been applied, and says so.
- To be told of a change is a hint. It may come late, or never, or for nothing. Who must know reads again now and then.
"""

from __future__ import annotations

from math import inf
from typing import NewType, Protocol, TypeAlias

import attrs
from twisted.internet.defer import Deferred

from pyshard.model.cluster_state import ClusterState

#: The revision of what is in a state store. It is the store's own, and only compared for equality.
Revision = NewType("Revision", int)

#: The revision where nothing is there yet.
NOTHING = Revision(0)


@attrs.frozen
class StoredState:
    """A state as it was found in a state store.

    :param revision: no other content of the store has it.
    :param write: the id of the swap that put it there; empty: it isn't known.
    """

    state: ClusterState
    revision: Revision
    write: str = ""


@attrs.frozen
class SwapApplied:
    """The state is there.

    :param revision: its own.
    """

    revision: Revision


@attrs.frozen
class SwapRefused:
    """The state isn't there, and never will be by this swap, unless an earlier try at it had an unknown outcome.

    :param found: what is there; None: nothing.
    """

    found: StoredState | None


SwapOutcome: TypeAlias = SwapApplied | SwapRefused


class StateStore(Protocol):
    """Keeps one cluster's state."""

    @property
    def kind(self) -> str:
        """What it is, in one word for people: ``file``, ``etcd`` or ``memory``."""
        ...

    @property
    def name(self) -> str:
        """What messages call it. It has no secrets."""
        ...

    @property
    def shared(self) -> bool:
        """Whether others may change what is there while this process has it."""
        ...

    @property
    def most_bytes(self) -> int:
        """How many bytes of a state's text it takes, unless operators have it take more."""
        ...

    def get(self, end: float = inf) -> Deferred[StoredState | None]:
        """What is there for good, as of now; None: nothing.

        :param end: when it must be known, by the steady clock; what a disk has begun may take longer.
        :raises Unavailable: (in the Deferred) it can't be asked now.
        :raises ConfigError: (in the Deferred) it refuses to tell, or what is there can't be read.
        :raises OutcomeUnknown: (in the Deferred) something is there, and may be gone after a power failure.
        """
        ...

    def swap(self, state: ClusterState, expected: Revision, write: str, end: float = inf) -> Deferred[SwapOutcome]:
        """Put a state there, if what is there has the expected revision.

        :param expected: `NOTHING`: if nothing is there.
        :param write: the id of this swap, the same when it is tried again, and no other one's.
        :param end: when its outcome must be known, or stays unknown, as with `get`.
        :raises Unavailable, ConfigError: (in the Deferred) it can't be put there; nothing has changed.
        :raises OutcomeUnknown: (in the Deferred) it is there, or will be, or won't.
        """
        ...

    def wait(self, after: Revision) -> Deferred[None]:
        """A Deferred that fires when there may be another revision than this, or when nobody would notice any more.

        It can be cancelled. It may never fire.
        """
        ...
