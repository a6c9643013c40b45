"""The file that keeps the cluster state.

Rules:

- the file is never half written, and nobody but its owner reads it (`pyshard.security.private_files`);
- one process uses it at a time, which has a file beside it locked. Two that don't know of each other would each decide
  about a move, and one could commit what the other has cancelled;
- when its directory can't be synced after the new file took the old one's place, it is unknown which of them is there
  after a power failure. Only a later save that succeeds settles that. Until then nobody acts on the new state, and a
  process that starts saves what it finds before it acts on it.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from pyshard.errors import BadRequest, ConfigError, OutcomeUnknown
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.regular_file import read_regular
from pyshard.security.private_files import MayBeUndone, private_descriptor, replace_privately
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
        raise ConfigError(
            f"{path}: the cluster's state can't be read ({error.strerror}); name its file with --state"
        ) from None
    except BadRequest as error:
        raise ConfigError(f"{path}: {error}; restore the file, or move it away to start a new cluster") from None


def save(path: Path, state: ClusterState) -> None:
    """Put a state into a file.

    :raises ConfigError: in one line, when it can't be written; the old file stands.
    :raises OutcomeUnknown: in one line, when it was written, and may be gone after a power failure.
    """
    try:
        replace_privately(path, cluster_state_json.to_json(state))
    except MayBeUndone as error:
        raise OutcomeUnknown(
            f"{path}: the cluster's state was written, but its directory can't be synced ({error.strerror}), so the "
            "change may or may not be there after a restart; try it again when the disk works"
        ) from None
    except OSError as error:
        raise _not_writable(path, error) from None


class StateLock:
    """The lock of a state file, held by this process (and by the children that daemonizing forks).

    It ends with the process, with `close`, or when nobody refers to it any more.

    :param path: the state file, which needs not be there.
    :raises ConfigError: in one line, when another process has it, or nothing can be locked there.
    :ivar path: the state file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = private_descriptor(path.with_name(f"{path.name}.lock"), os.O_WRONLY)
        except OSError as error:
            raise _not_writable(path, error) from None
        self.close = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{path}: another bootstrap uses this cluster state; a cluster has one, so stop that one first"
            ) from None
        except OSError as error:
            raise ConfigError(f"{path}: the cluster's state can't be locked ({error.strerror})") from None

    def save(self, state: ClusterState) -> None:
        """Put a state into the file; see `save`."""
        save(self.path, state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _not_writable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: the cluster's state can't be written ({error.strerror}); name a place that can with --state"
    )
