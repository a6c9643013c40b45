"""The state with which a bootstrap begins, where it is kept in a file of its own."""

from __future__ import annotations

import uuid
from pathlib import Path

from twisted.logger import Logger

from pyshard.bootstrap.bootstrap import Bootstrap, first_state
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.bootstrap.state_stores.state_store import NOTHING, StoredState, SwapApplied
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.model.cluster_state import ClusterState
from pyshard.model.layout_change import layout_change
from pyshard.model.shard_map import ShardMap

_log = Logger()


def open_file(path: Path, configured: ShardMap, config: Path) -> tuple[FileStateStore, StoredState]:
    """The state store in a file, with the lock of the file, and the state of the cluster.

    :raises ConfigError, OutcomeUnknown: as `open_state`, or another process has the file.
    """
    store = FileStateStore(StateLock(path))
    try:
        return store, open_state(store, configured, config)
    except (ConfigError, OutcomeUnknown):
        store.close()
        raise


def open_state(store: FileStateStore, configured: ShardMap, config: Path) -> StoredState:
    """The state of the cluster, with the addresses and limits of its config file, saved.

    Other shards or ranges in the file change nothing: documents move when they are told to. The log says so.

    What was written and not synced before is here like all else, and settled before anybody hears of it.

    :raises ConfigError: it can't be read or written, or two shards would have one address.
    :raises OutcomeUnknown: as `state_file.save`.
    """
    known = store.read()
    if known is None:
        state = first_state(uuid.uuid4().hex, configured)
    else:
        state = known.state.with_addresses(configured)
        warn_of_other_layout(state, configured, config)
        if state == known.state:
            return known
    saved = store.write(state, NOTHING if known is None else known.revision, "opened")
    assert isinstance(saved, SwapApplied), "nobody else has the file"
    return StoredState(state, saved.revision)


def warn_when_known(bootstrap: Bootstrap, configured: ShardMap, config: Path) -> None:
    """Have the log say in what a config file differs from the cluster, once its state is known.

    Where several bootstraps share a state, none of them changes it by its config file alone: each may have another one.
    """

    def known() -> None:
        bootstrap.off_change(known)
        state = bootstrap.state
        if not layout_change(state, configured).updated:
            warn_of_other_layout(state, configured, config)
            return
        _log.warn(
            "{config}: it has other addresses or limits than the cluster, whose own go on being used, since other "
            "bootstraps share its state; `pyshard apply {config}` changes them",
            config=config,
        )

    bootstrap.on_change(known)


def warn_of_other_layout(state: ClusterState, configured: ShardMap, config: Path) -> None:
    """Say in the log that a config file has other shards or ranges than the cluster, if it has."""
    change = layout_change(state, configured)
    if change.added or change.removed or change.emptied or change.transfers:
        _log.warn(
            "{config}: it has other shards or ranges than the cluster, whose own go on being used; "
            "`pyshard plan {config}` shows what would change, and `pyshard apply {config}` changes it",
            config=config,
        )
