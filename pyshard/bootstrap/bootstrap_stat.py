"""What `stat` tells of a bootstrap: the source of its metrics, too (docs/protocol.md, "Stat")."""

from __future__ import annotations

from collections import Counter

from pyshard.bootstrap.bootstrap import Bootstrap, Condition
from pyshard.model.range_moves import Phase
from pyshard.server.factory import ServerFactory


def bootstrap_stat(bootstrap: Bootstrap, factory: ServerFactory) -> dict[str, object]:
    """How the bootstrap, the shards as it sees them, and its connections fare, as docs/protocol.md lists it."""
    state = bootstrap.state
    conditions = Counter(shard.condition for shard in bootstrap.readiness())
    phases = Counter(move.phase for move in state.moves)
    return factory.described() | {
        "cluster": state.cluster,
        "epoch": state.epoch,
        "indexes": len(state.indexes),
        "ready": not unready(bootstrap, factory),
        "refusals": dict(factory.counts.refusals),
        "shards": {condition.value: conditions[condition] for condition in Condition},
        "moves": {phase.value: phases[phase] for phase in Phase},
    }


def unready(bootstrap: Bootstrap, factory: ServerFactory) -> str:
    """Why a bootstrap's cluster isn't ready, in a few words; empty: it is."""
    if factory.draining:
        return "shutting down"
    shards = bootstrap.readiness()
    ready = sum(shard.condition is Condition.READY for shard in shards)
    return "" if ready == len(shards) else f"{ready} of {len(shards)} shards are ready"
