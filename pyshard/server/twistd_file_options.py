"""What twistd was told before the plugin's name, as far as a daemon goes by it: its log file and its pid file.

Rules:

- twistd's own options decide: who gives ``--logger``, ``--syslog`` or ``--logfile=-`` has that, and no file of ours;
- a plugin that something else runs than twistd has neither file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.application.app import ServerOptions
from twisted.python import usage

_PRIVATE = 0o600
_ANYBODY = 0o666
_ELSEWHERE = ("logger", "syslog")


@attrs.frozen
class TwistdFiles:
    """The files that twistd writes by itself.

    :param log: its log; None: it logs to no file.
    :param log_mode: the permissions of a new log file.
    :param pid: its pid file; None: it writes none.
    :param elsewhere: the option by which it logs neither to a file nor to standard output; empty: none.
    """

    log: Path | None = None
    log_mode: int = _PRIVATE
    pid: Path | None = None
    elsewhere: str = ""


def twistd_files(parent: usage.Options | None) -> TwistdFiles:
    """The files of the twistd that runs a plugin.

    :param parent: the parent of the plugin's options, which isn't wholly parsed yet.
    """
    return files_named(parent) if isinstance(parent, ServerOptions) else TwistdFiles()


def files_named(options: Mapping[str, Any]) -> TwistdFiles:
    """The files that twistd's options name.

    A log is for its owner alone, unless ``--umask`` says otherwise: twistd opens it before it sets that umask.
    """
    umask, pid = options.get("umask"), options.get("pidfile")
    log = _log_name(options)
    return TwistdFiles(
        None if log is None else Path(log).absolute(),
        _PRIVATE if umask is None else _ANYBODY & ~umask,
        Path(pid).absolute() if pid else None,
        next((f"--{name}" for name in _ELSEWHERE if options.get(name)), ""),
    )


def _log_name(options: Mapping[str, Any]) -> str | None:
    if any(map(options.get, _ELSEWHERE)) or options.get("logfile") == "-":
        return None
    in_front = options.get("nodaemon") or options.get("debug")
    return options.get("logfile") or (None if in_front else "twistd.log")
