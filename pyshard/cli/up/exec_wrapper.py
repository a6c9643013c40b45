"""Wraps a daemon of `pyshard up`: a script that prepares its process, then becomes `twistd` by exec.

Rules:

- it leaves the terminal's process group, so Ctrl-C reaches only `up`, which then ends its daemons in order;
- what the daemon prints goes into its log;
- Linux ends the daemon when `up` is gone;
- the pid file that a killed daemon left behind is removed;
- it is run by its path and imports nothing of pyshard, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of prctl(2): send this process a signal when its parent ends


def main(parent: int, log: str, pidfile: str, command: list[str]) -> None:
    """Become `command`.

    :param parent: the process id of `up`.
    :param log: where the output goes.
    :param pidfile: removed if it exists.
    :param command: a program and its arguments.
    """
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            return  # `up` ended before the signal was asked for
    with contextlib.suppress(FileNotFoundError):
        os.unlink(pidfile)  # noqa: PTH108  # pathlib would triple the time that this takes
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
