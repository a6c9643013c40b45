"""The file that keeps the cluster state.

Rule: the file is never half written, and nobody but its owner reads it (`pyshard.security.private_files`).
"""

from __future__ import annotations

from pathlib import Path

from pyshard.errors import BadRequest, ConfigError
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.regular_file import read_regular
from pyshard.security.private_files import replace_privately
from pyshard.settings import settings


def default_path(config: Path) -> Path:
    """Where the state of a config file's cluster is kept: beside it, etc/shards.json → etc/shards.state."""
    return config.with_suffix(".state")


def load(path: Path) -> ClusterState | None:
    """The state in a file; None when there is no such file.

    :raises ConfigError: in one line, when it can't be read or holds something else.
    """
    try:
        return cluster_state_json.from_json(read_regular(path, settings.MAX_STATE_BYTES))
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
    try:
        replace_privately(path, cluster_state_json.to_json(state))
    except OSError as error:
        raise ConfigError(
            f"{path}: the cluster's state can't be written ({error.strerror}); name a place that can with --state"
        ) from None
