"""The directories of a run: the run directory, and the data directory that outlives it.

Rules:

- one `up` at a time holds a directory, by a lock on a file in it;
- a run directory that nobody named is temporary, and removed at the end;
- both must be this user's, and nobody else may write in them, or put others in their place, since daemons are told to
  write files there (`pyshard.security.own_directories`);
- they are made for their owner alone, and no link at a file's place is followed;
- no shard's files take the name of another file in these directories.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.security.own_directories import make_own_directory
from pyshard.security.private_files import private_descriptor
from pyshard.security.refused_place import file_in_the_way, refused_place

#: The bootstrap's state: in the data directory, or in the run directory when documents are kept in memory.
STATE = "cluster.state"

#: The config file: in the run directory when none was given, and in a data directory that of its cluster.
CONFIG = "shards.json"

#: The file whose lock holds a directory.
LOCK = "up.lock"

#: Names that no shard's files may have.
RESERVED = ("up", "bootstrap", STATE, f"{STATE}.new", f"{STATE}.lock", CONFIG, f"{CONFIG}.new", LOCK)


@attrs.frozen
class ClusterData:
    """Where a cluster keeps its documents between two runs.

    :param directory: holds a data directory for each shard, the bootstrap's state and the config file.
    :param durability: when a change is acknowledged; None: the default of shards.
    """

    directory: Path
    durability: str | None = None


def state_file(run_directory: Path, data: ClusterData | None) -> Path:
    """Where the bootstrap of a run keeps its state."""
    return (run_directory if data is None else data.directory) / STATE


def file_name(shard: str, taken: set[str]) -> str:
    """The name, without a suffix, for the files of a shard.

    :param shard: the shard's name, which may hold any character.
    :param taken: names in use, in lower case; the new name is added.
    """
    name = base = re.sub(r"[^A-Za-z0-9_.-]", "_", shard).lstrip(".") or "shard"
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name.lower())
    return name


@contextmanager
def run_directory(given: Path | None) -> Iterator[Path]:
    """Make the run directory and hold it for this process.

    :param given: the user's choice; None: a temporary folder, removed at the end.
    """
    if given is None:
        made = Path(tempfile.mkdtemp(prefix="pyshard-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    with held_directory(given, "--run-dir"):
        yield given.absolute()


@contextmanager
def held_directory(directory: Path, option: str) -> Iterator[None]:
    """Make a directory if there is none, and hold it for this process.

    :param option: the option that named it, for messages.
    :raises CommandFailed: it can't be used, others can put files into it, or another `up` holds it.
    """
    try:
        _, why = make_own_directory(directory)
        if why is not None:
            raise CommandFailed(f"{option}: {why}", ExitCode.USAGE)
        lock = os.fdopen(private_descriptor(directory / LOCK, os.O_WRONLY), "w")
    except OSError as error:
        why = refused_place(directory, error, os.geteuid(), "directory", file_in_the_way(directory))
        raise CommandFailed(f"{option}: {why}", ExitCode.USAGE) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandFailed(f"{option}: {directory} is in use by another pyshard up", ExitCode.USAGE) from None
        yield
