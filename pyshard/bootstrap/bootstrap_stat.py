"""What `stat` tells of a bootstrap: the source of its metrics, too (docs/protocol.md, "Stat")."""

from __future__ import annotations

from collections import Counter

from pyshard.bootstrap.bootstrap import Bootstrap, Condition
from pyshard.model.range_moves import Phase
from pyshard.server.factory import ServerFactory


def bootstrap_stat(bootstrap: Bootstrap, factory: ServerFactory) -> dict[str, object]:
    """How the bootstrap, the shards as it sees them, and its connections fare, as docs/protocol.md lists it."""
    conditions = Counter(shard.condition for shard in bootstrap.readiness())
    state = bootstrap.state if bootstrap.has_state else None
    phases = Counter(move.phase for move in (() if state is None else state.moves))
    changes = bootstrap.changes
    return factory.described() | {
        "cluster": "" if state is None else state.cluster,
        "epoch": 0 if state is None else state.epoch,
        "indexes": 0 if state is None else len(state.indexes),
        "state_store": {
            "name": bootstrap.store.name,
            "away": round(changes.troubled_for(), 3),
            "error": changes.trouble,
        },
        "ready": not unready(bootstrap, factory),
        "refusals": dict(factory.counts.refusals),
        "shards": {condition.value: conditions[condition] for condition in Condition},
        "moves": {phase.value: phases[phase] for phase in Phase},
    }


def unready(bootstrap: Bootstrap, factory: ServerFactory) -> str:
    """Why a bootstrap's cluster isn't ready, in a few words; empty: it is."""
    if factory.draining:
        return "shutting down"
    if not bootstrap.has_state:
        return f"no cluster state yet: {bootstrap.changes.trouble}"
    shards = bootstrap.readiness()
    ready = sum(shard.condition is Condition.READY for shard in shards)
    return "" if ready == len(shards) else f"{ready} of {len(shards)} shards are ready"
