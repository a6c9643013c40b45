"""How large a state may become by what others ask for: the bootstrap has to save changes of its own, too. Pure.

A failover makes a state a little larger, and so does a member that joins again, or a move that goes on. Where indexes
had filled the state to its last byte, a shard that had lost a member would not get it back.
"""

from __future__ import annotations

from pyshard.errors import BadRequest
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import to_json
from pyshard.settings import settings

_ASKED_FOR = 7 / 8  # the part of a state's bytes that may be taken by what others ask for


def check_room(before: ClusterState, after: ClusterState, most: int) -> None:
    """Refuse a change that takes room which is kept for the bootstrap itself.

    :param most: bytes that the state store takes, as far as is known. A state that has more already says that it takes
        as many as a state may have.
    :raises BadRequest: it does, and makes the state larger.
    """
    had, size = len(to_json(before)), len(to_json(after))
    if had > most:
        most = settings.MAX_STATE_BYTES
    if size > max(had, most * _ASKED_FOR):
        raise BadRequest(
            f"the cluster state would have {size:,} bytes; of {most:,} an eighth is kept for what the bootstrap saves "
            "by itself; drop indexes, or give them shorter names"
        )
