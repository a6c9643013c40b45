"""A pid file that a killed daemon left behind: whether it is sure that no twistd runs with it any more.

twistd refuses to start while the process lives that its pid file names. In a container that is often this process
itself, or a shell, since ids begin anew there. twistd looks at the file after it has parsed the plugin's options; so a
plugin can remove a stale one before.

Rules:

- it is stale if the process is this one, has ended, or is surely no Python program;
- in doubt it stays, and twistd says what it says.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import attrs
from twisted.logger import Logger

_LONGEST = 32  # bytes of a pid file
_PYTHON = re.compile(r"python|pypy|twist")
_ENDED = ("Z", "X")  # states of a process that has ended, and that nobody has waited for

_log = Logger()


@attrs.frozen
class ProcessSeen:
    """What Linux tells of a process.

    :param state: its state, one letter.
    :param programs: names of the program that it runs; empty: nobody knows them.
    """

    state: str
    programs: tuple[str, ...]


def stale(pid: int, own: int, process: ProcessSeen | None) -> str | None:
    """Why a pid file is stale; None: it may not be.

    :param pid: the process that it names.
    :param own: this process.
    :param process: what is known of that process; None: nothing.
    """
    if pid == own:
        return "names this very process"
    if process is None:
        return None
    if process.state in _ENDED:
        return f"names process {pid}, which has ended"
    if process.programs and not any(map(_PYTHON.search, process.programs)):
        return f"names process {pid}, which is no twistd"
    return None


def remove_stale(path: Path | None) -> None:
    """Remove a pid file that is stale; what else may be wrong with it is for twistd to say."""
    if path is None:
        return
    try:
        with path.open("rb") as file:
            pid = int(file.read(_LONGEST))
        why = stale(pid, os.getpid(), _seen(pid))
        if why is not None:
            path.unlink()
            _log.info("pid file {path} {why}: removed, since its daemon was killed", path=path, why=why)
    except (OSError, ValueError):
        return


def _seen(pid: int) -> ProcessSeen | None:
    """What Linux tells of a process; None where it doesn't."""
    directory = Path(f"/proc/{pid}")
    try:
        state = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        try:
            programs = [str((directory / "exe").readlink())]
        except OSError:  # another user's: its command line is open to all, but it may say anything
            programs = (directory / "cmdline").read_text(errors="replace").split("\0")[:2]
    except (OSError, IndexError):
        return None
    return ProcessSeen(state, tuple(Path(program).name for program in programs if program))
