"""A file that a subcommand writes: whole or as it was, also when Ctrl-C ends the subcommand in the middle.

Rules:

- it is written beside, under a hidden name that nobody else has, and renamed at the end; what fails or is interrupted
  leaves nothing behind, and no file of the user's is written to or removed;
- one of the user's own that was there keeps its mode; a new one is its owner's alone where documents are in it;
- a link stays a link, and what is no file, such as /dev/null or a pipe, is written to as it is;
- what belongs to another user is refused, since that one may have planted it: a file, whose mode could open the new one
  to others; a link, which could have another file overwritten; a pipe, which would be given all. What is root's is
  taken, and so are devices, which only root can make.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pyshard.cli.signals import interrupt_says
from pyshard.security.private_files import of_another, private_descriptor

_PLAIN = 0o666  # of which the umask takes some
_TOKEN = 4  # random bytes in the name of the file beside
_MOST_LINKS = 40  # one behind the other: as many as the system follows


@contextmanager
def whole_file(path: Path, private: bool, owners: Collection[int] = ()) -> Iterator[IO[bytes]]:
    """A file to be written, in place of what is at a path at the end of the block.

    :param private: whether a new file is its owner's alone.
    :param owners: the ids of the users of whom something may be there; empty: this user and root.
    :raises OSError: it can't be written, or another user may have planted what is there; that stands.
    """
    owners = owners or (os.geteuid(), 0)
    path, found = _behind_links(path.absolute(), owners)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with os.fdopen(_opened(path, found, owners), "wb") as device:
            yield device
        return
    beside = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN)}.new")

    def clean() -> str:
        beside.unlink(missing_ok=True)
        return f"interrupted; {path} is as it was"

    with interrupt_says(clean):
        descriptor = private_descriptor(beside, os.O_WRONLY | os.O_EXCL)  # what is there already, isn't removed below
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                if (mode := _mode(found, private)) is not None:
                    os.fchmod(file.fileno(), mode)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _behind_links(path: Path, owners: Collection[int]) -> tuple[Path, os.stat_result | None]:
    """The path to which links lead, and what is there; None: nothing.

    :raises OSError: it, or a link on the way, may be another user's doing; or it can't be looked at.
    """
    for _ in range(_MOST_LINKS):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return path, None
        device = stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)
        if not device and (why := of_another(found, owners)) is not None:
            raise OSError(errno.EPERM, f"{path} {why}")
        if not stat.S_ISLNK(found.st_mode):
            return path, found
        target = path.parent / path.readlink()
        if path.exists() and not target.exists():  # a link in /proc, to a pipe that this process has open
            return path, found
        path = target
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _opened(path: Path, found: os.stat_result, owners: Collection[int]) -> int:
    """A descriptor of what is no file.

    :param found: what was there; a link: one in /proc.
    :raises OSError: it can't be opened, or another user has put something else there meanwhile.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC
    if stat.S_ISLNK(found.st_mode):
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_NOFOLLOW)
    opened = os.fstat(descriptor)
    if not os.path.samestat(found, opened) and (why := of_another(opened, owners)) is not None:
        os.close(descriptor)
        raise OSError(errno.EPERM, f"{path} {why}")
    return descriptor


def _mode(found: os.stat_result | None, private: bool) -> int | None:
    """The mode of the new file; None: its owner's alone.

    :param found: the file that was there; None: none.
    """
    if found is not None and found.st_uid == os.geteuid():
        return stat.S_IMODE(found.st_mode)
    if private:
        return None
    umask = os.umask(0)
    os.umask(umask)
    return _PLAIN & ~umask
