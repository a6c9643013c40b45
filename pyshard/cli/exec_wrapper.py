"""What a daemon of `pyshard up` does before it becomes `twistd`. Run as a script, by path: it imports no pyshard.

It leaves the terminal's process group, so that Ctrl-C reaches `up` alone, which then ends its daemons in order;
writes what the daemon prints into its log; asks Linux to end it when `up` is gone; and removes the pid file of
a daemon that was killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, log: str, pidfile: str, command: list[str]) -> None:
    """Become `command`.

    :param parent: the process id of `up`.
    """
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(pidfile)  # noqa: PTH108  # pathlib would triple the time that this takes
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
