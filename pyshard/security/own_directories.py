"""Directories that are this user's alone to change: nobody else can put anything into one, nor in its place.

Rules:

- the directory is this user's, and nobody else may write in it;
- those above it are this user's or root's. Others may write in one only where it is sticky, as /tmp is, so that they
  can't move what isn't theirs; or by a group of which this user is a member, too;
- a link on the way is this user's or root's, and holds for what it leads to;
- what others did before they lost their rights isn't looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from pyshard.security.private_files import make_private_directory

_MOST_LINKS = 40  # on one way: as many as the system follows
_EXPECTED = "expected a directory of your own, below your own and root's; choose another"


def make_own_directory(path: Path) -> tuple[bool, str | None]:
    """Make a directory for this user alone, if there is none.

    :return: whether it was made, and why others could change what is in it, in one line; None: they couldn't.
    :raises OSError: it can't be made.
    """
    user, groups = os.geteuid(), {*os.getgroups(), os.getegid(), 0}
    if (why := changed_by_others(path, user, groups)) is not None:
        return False, why
    made = make_private_directory(path)
    return made, changed_by_others(path, user, groups)


def changed_by_others(
    path: Path, user: int, groups: Collection[int], look: Callable[[Path], os.stat_result] = Path.lstat
) -> str | None:
    """Why others could change what is in a directory, with what mends it, in one line; None: they couldn't.

    Of one that isn't there yet those above it are looked at.

    :param user: the id of this user.
    :param groups: the ids of those with whom this user shares directories.
    :param look: gives what is at a path, and of a link itself.
    :raises OSError: nobody knows, since it can't be looked at.
    """
    place, links = Path("/"), 0
    left = list(reversed(path.absolute().parts))
    while left:
        part = left.pop()
        if part == "..":
            place = place.parent
            continue
        at = place / part
        try:
            found = look(at)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if found.st_uid not in (user, 0):
                return f"{at} is a link of another user's ({found.st_uid}), who could lead it elsewhere; {_EXPECTED}"
            left += reversed(at.readlink().parts)
        elif (why := directory_fault(found, user, groups, above=bool(left))) is not None:
            return f"{at} {why}"
        else:
            place = at
    return None


def directory_fault(found: os.stat_result, user: int, groups: Collection[int], above: bool) -> str | None:
    """Why others could change what is in a directory, in words behind its path; None: they couldn't. Pure.

    :param user, groups: as for `changed_by_others`.
    :param above: whether the directory meant is below this one.
    """
    if found.st_uid != user and not (above and found.st_uid == 0):
        return f"belongs to another user ({found.st_uid}), who could plant links in it; {_EXPECTED}"
    mode = stat.S_IMODE(found.st_mode)
    if above and (mode & stat.S_ISVTX):
        return None
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not (above and found.st_gid in groups)):
        return f"has mode {mode:04o}, with which others could plant links in it; {_EXPECTED}, or chmod go-w that one"
    return None
