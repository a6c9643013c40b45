"""What `stat` tells of a bootstrap: the source of its metrics, too (docs/protocol.md, "Stat")."""

from __future__ import annotations

from collections import Counter

from pyshard.bootstrap.bootstrap import Bootstrap, Condition
from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import Phase
from pyshard.model.replica_group import LEARNER, MEMBER, PRIMARY
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
        "replicas": _replicas(state),
        "moves": {phase.value: phases[phase] for phase in Phase},
    }


def _replicas(state: ClusterState | None) -> dict[str, int]:
    groups = [] if state is None else [shard.group for shard in state.map.shards if shard.group is not None]
    roles = Counter(group.role_of(replica.address) for group in groups for replica in group.replicas)
    return {role: roles[role] for role in (PRIMARY, MEMBER, LEARNER)} if groups else {}


def unready(bootstrap: Bootstrap, factory: ServerFactory) -> str:
    """Why a bootstrap's cluster isn't ready, in a few words without names, as they are for everybody; empty: it is."""
    if factory.draining:
        return "shutting down"
    if not bootstrap.has_state:
        return "no cluster state yet"
    shards = bootstrap.readiness()
    ready = sum(shard.condition is Condition.READY for shard in shards)
    if ready < len(shards):
        return f"{ready} of {len(shards)} shards are ready"
    groups = [shard.group for shard in bootstrap.state.map.shards if shard.group is not None]
    few = sum(len(group.members) < group.least for group in groups)
    return f"{few} of {len(shards)} shards have too few replicas with all documents to take changes" if few else ""
