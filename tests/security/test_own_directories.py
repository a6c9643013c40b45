"""Directories that others could change: by their owner and mode, and by those above them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pyshard.security.own_directories import changed_by_others, directory_fault, make_own_directory

USER = os.geteuid()
OTHER = USER + 4242
GROUPS = {os.getegid(), 0}

PLANTED = "could plant links in it; expected a directory of your own, below your own and root's; choose another"


def status(owner: int, mode: int, group: int = 1000) -> os.stat_result:
    """What the system says of a directory."""
    return os.stat_result((stat.S_IFDIR | mode, 1, 1, 1, owner, group, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("owner", "mode", "group", "itself", "above"),
    [
        (1000, 0o700, 1000, None, None),
        (1000, 0o755, 1000, None, None),
        (1000, 0o775, 1000, "has mode 0775", None),
        (1000, 0o775, 50, "has mode 0775", "has mode 0775"),
        (1000, 0o702, 1000, "has mode 0702", "has mode 0702"),
        (1000, 0o1777, 1000, "has mode 1777", None),
        (0, 0o755, 0, "belongs to another user (0)", None),
        (0, 0o1777, 0, "belongs to another user (0)", None),  # /tmp itself
        (0, 0o777, 0, "belongs to another user (0)", "has mode 0777"),
        (1001, 0o700, 1000, "belongs to another user (1001)", "belongs to another user (1001)"),
        (1001, 0o1777, 1000, "belongs to another user (1001)", "belongs to another user (1001)"),
    ],
)
def test_whose_directory(owner: int, mode: int, group: int, itself: str | None, above: str | None) -> None:
    """A directory must be the user's own, and those above it that of nobody else but root, with modes that keep it."""
    for why, expected in (itself, False), (above, True):
        found = directory_fault(status(owner, mode, group), 1000, {1000, 0}, above=expected)
        assert (found or "").split(",")[0] == (why or "")


def seen_as(owners: dict[Path, int]) -> Callable[[Path], os.stat_result]:
    """Looks at real paths, of which some belong to others."""

    def look(path: Path) -> os.stat_result:
        found = list(path.lstat())
        found[4] = owners.get(path, USER)
        return os.stat_result(found)

    return look


def test_others_above(tmp_path: Path) -> None:
    """Each directory above is looked at, also of one that isn't there yet, and the first that others have is named."""
    path = tmp_path / "a" / "b" / "c"
    assert changed_by_others(path, USER, GROUPS, seen_as({})) is None
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert changed_by_others(path, USER, GROUPS, seen_as({})) is None
    for place in (tmp_path / "a", tmp_path / "a" / "b"):
        found = changed_by_others(path, USER, GROUPS, seen_as({place: OTHER}))
        assert found == f"{place} belongs to another user ({OTHER}), who {PLANTED}"
    path.mkdir()
    assert changed_by_others(path, USER, GROUPS, seen_as({tmp_path: 0})) is None
    assert changed_by_others(path / ".." / "c", USER, GROUPS, seen_as({path.parent: OTHER})) is not None
    if USER:
        assert changed_by_others(path, USER, GROUPS, seen_as({path: 0})) is not None


def test_links_on_the_way(tmp_path: Path) -> None:
    """They must be the user's own or root's, and so must be all to which they lead, and on the way there."""
    for name in ("real", "other", "near"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "c").mkdir()
    (tmp_path / "near" / "link").symlink_to("../other/hop/")
    (tmp_path / "other" / "hop").symlink_to(tmp_path / "real")
    path = tmp_path / "near" / "link" / "c"
    assert path.is_dir()
    assert changed_by_others(path, USER, GROUPS, seen_as({})) is None
    for place in (tmp_path / "near", tmp_path / "other", tmp_path / "real", tmp_path / "real" / "c"):
        found = changed_by_others(path, USER, GROUPS, seen_as({place: OTHER}))
        assert found == f"{place} belongs to another user ({OTHER}), who {PLANTED}"
    for place in (tmp_path / "near" / "link", tmp_path / "other" / "hop"):
        found = changed_by_others(path, USER, GROUPS, seen_as({place: OTHER})) or ""
        assert found.startswith(f"{place} is a link of another user's ({OTHER}), who could lead it elsewhere; expected")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        changed_by_others(tmp_path / "circle" / "c", USER, GROUPS, seen_as({}))


def test_made(tmp_path: Path) -> None:
    """One that isn't there is made for its owner alone, unless others could put another in its place."""
    assert make_own_directory(tmp_path / "a" / "b") == (True, None)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert make_own_directory(tmp_path / "a" / "b") == (False, None)
    (tmp_path / "a").chmod(0o777)
    made, why = make_own_directory(tmp_path / "a" / "c" / "d")
    assert (made, why) == (
        False,
        f"{tmp_path / 'a'} has mode 0777, with which others {PLANTED}, or chmod go-w that one",
    )
    assert not (tmp_path / "a" / "c").exists()
    (tmp_path / "a").chmod(0o1777)
    assert make_own_directory(tmp_path / "a" / "c" / "d") == (True, None)


def test_a_directory_that_is_put_there_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at once more when it is there."""

    def plant(path: Path) -> bool:
        path.mkdir()
        path.chmod(0o777)
        return False

    monkeypatch.setattr("pyshard.security.own_directories.make_private_directory", plant)
    made, why = make_own_directory(tmp_path / "a")
    assert (made, (why or "")[: len(str(tmp_path)) + 20]) == (False, f"{tmp_path}/a has mode 0777, wi")
