"""The files that a daemon's process may have open: each connection is one."""

from __future__ import annotations

from twisted.logger import Logger

from pyshard.net.open_files import allow_files
from pyshard.server.connection_admission import ConnectionLimits

_log = Logger()


def with_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Have this process be allowed the files that some limits need; lower limits where the system doesn't let it."""
    lower = limits.within(allow_files(limits.files))
    if lower != limits:
        _log.warn(
            "this process may not have the {files:,} files open that {wanted:,} connections need: it serves "
            "{served:,}; raise the limit (ulimit -n), or give it a lower --max-connections",
            files=limits.files,
            wanted=limits.total,
            served=lower.total,
        )
    return lower
