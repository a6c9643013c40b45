"""The files that a daemon's process may have open: each connection is one."""

from __future__ import annotations

import resource

from twisted.logger import Logger

from pyshard.server.connection_admission import ConnectionLimits

_log = Logger()


def with_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Have this process be allowed the files that some limits need; lower limits where the system doesn't let it."""
    lower = limits.within(_allow_files(limits.files))
    if lower != limits:
        _log.warn(
            "this process may not have the {files:,} files open that {wanted:,} connections need: it serves "
            "{served:,}; raise the limit (ulimit -n), or give it a lower --max-connections",
            files=limits.files,
            wanted=limits.total,
            served=lower.total,
        )
    return lower


def _allow_files(wanted: int) -> int:
    """Raise the number of files that this process may have open, where it is lower; what it may have then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):  # macOS has a limit of its own below the one that it tells
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else soft
