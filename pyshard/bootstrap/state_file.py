"""The file that keeps the cluster state.

Rule: the file is never half written. A save writes another file beside it, syncs that, renames it over the old one, and
syncs the directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyshard.errors import BadRequest, ConfigError
from pyshard.model import cluster_state
from pyshard.model.cluster_state import ClusterState


def default_path(config: Path) -> Path:
    """Where the state of a config file's cluster is kept: beside it, etc/shards.json → etc/shards.state."""
    return config.with_suffix(".state")


def load(path: Path) -> ClusterState | None:
    """The state in a file; None when there is no such file.

    :raises ConfigError: in one line, when it can't be read or holds something else.
    """
    try:
        return cluster_state.from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: the cluster's state can't be read ({error.strerror})") from None
    except BadRequest as error:
        raise ConfigError(f"{path}: {error}; restore the file, or move it away to start a new cluster") from None


def save(path: Path, state: ClusterState) -> None:
    """Put a state into a file.

    :raises ConfigError: in one line, when it can't be written; the old file stands.
    """
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as file:
            file.write(cluster_state.to_json(state))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ConfigError(
            f"{path}: the cluster's state can't be written ({error.strerror}); name a place that can with --state"
        ) from None
