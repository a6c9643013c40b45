"""The checks of `doctor` on what can run out, and on this machine, by value."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from pyshard.cli.doctor import room_checks as checks
from pyshard.cli.doctor.evidence import DirectoryEvidence, Evidence, FileEvidence, daemon_evidence
from pyshard.cli.doctor.findings import CheckVerdict, worst
from pyshard.model.shard_map import MapShard

PASS, WARN, FAIL = CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.FAIL
A = MapShard("a", ((0, 100),), 1000, "10.0.0.1", 5050, "aa" * 16)
NONE = Evidence(0, "1")


def with_shard(**told: object) -> Evidence:
    """One shard that tells this of itself."""
    return attrs.evolve(NONE, daemons=(daemon_evidence("shard a", A, told, 0, 0),))


@pytest.mark.parametrize(
    ("used", "verdict"), [(0, PASS), (800, PASS), (801, WARN), (950, WARN), (951, FAIL), (1000, FAIL)]
)
def test_limits(used: int, verdict: CheckVerdict) -> None:
    """Over 80 % of the limit is near, over 95 % too near."""
    assert worst(checks.limits_have_room(with_shard(bytes=used))) is verdict


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({}, PASS),
        ({"disk": {"free": 5000, "size": 10_000}}, PASS),
        ({"disk": {"free": 999, "size": 10_000}}, WARN),
        ({"disk": {"free": 99, "size": 10_000}}, FAIL),
        ({"disk": {"free": 0, "size": 0}}, FAIL),
        ({"disk": {"free": 500, "size": 1000}}, WARN),
        ({"disk": {"free": 500, "size": 1000}, "bytes": 600}, PASS),
        ({"disk": {"free": 5000, "size": 10_000}, "failing": True}, FAIL),
    ],
)
def test_disks(told: dict[str, object], verdict: CheckVerdict) -> None:
    """A disk must have room for what the limit lets the shard have, and take what is written."""
    assert worst(checks.disks_have_room(with_shard(**told))) is verdict


def test_shards_in_memory_have_no_disk() -> None:
    """Nothing is said of disks and commits where there are none."""
    assert checks.disks_have_room(with_shard()) == checks.commits_are_fast(with_shard()) == []


@pytest.mark.parametrize(("total", "verdict"), [(0.4, PASS), (0.6, WARN)])
def test_commits(total: float, verdict: CheckVerdict) -> None:
    """A commit takes 50 ms at the most, on average."""
    told = {"commits": {"updates": 20, "seconds": {"bounds": [1.0], "counts": [7, 3], "sum": total}}}
    assert worst(checks.commits_are_fast(with_shard(**told))) is verdict


def test_no_commits_yet() -> None:
    """Without a commit there is no time to be judged."""
    told = {"commits": {"seconds": {"counts": [0, 0], "sum": 0.0}}}
    assert checks.commits_are_fast(with_shard(**told)) == []


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ({"disk": None, "follower": None}, []),
        ({"disk": 262_144, "follower": None}, ["so that its disk keeps up"]),
        (
            {"disk": 262_144, "follower": 0},
            ["so that its disk keeps up", "so that a copy for a move or a replica ends"],
        ),
        ({"something": 5}, []),
    ],
)
def test_writers(rates: dict[str, int | None], told: list[str]) -> None:
    """Nobody is slowed down, neither for the disk nor for a follower."""
    findings = checks.writers_are_not_slowed(with_shard(slowed_to=rates))
    assert worst(findings) is (WARN if told else PASS)
    assert [one.text.partition(", ")[2] for one in findings if one.verdict is WARN] == told
    assert checks.writers_are_not_slowed(with_shard()) == []


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({}, PASS),
        ({"connected": 80, "most_connected": 100, "files": 1000}, PASS),
        ({"connected": 81, "most_connected": 100, "files": 1000}, WARN),
        ({"connected": 96, "most_connected": 100, "files": 1000}, FAIL),
        ({"connected": 96, "most_connected": 1000, "files": 100}, FAIL),
        ({"connected": 96, "most_connected": None, "files": None}, PASS),
    ],
)
def test_connections(told: dict[str, object], verdict: CheckVerdict) -> None:
    """Neither the limit of connections nor that of open files is near."""
    assert worst(checks.connections_have_room(with_shard(**told))) is verdict


def test_files() -> None:
    """A file that can't be used has failed, with its own reason; the others need no line."""
    good, bad = FileEvidence("token file", Path("good")), FileEvidence("file", Path("bad"), "found mode 0644")
    assert worst(checks.files_are_kept_well(attrs.evolve(NONE, files=(good,)))) is PASS
    [finding] = checks.files_are_kept_well(attrs.evolve(NONE, files=(good, bad)))
    assert (finding.verdict, finding.subject, finding.text) == (FAIL, "file bad", "found mode 0644")
    assert checks.files_are_kept_well(NONE) == []


@pytest.mark.parametrize(
    ("directory", "verdict"),
    [
        (DirectoryEvidence(Path("d"), 500, 1000, 0.01), PASS),
        (DirectoryEvidence(Path("d"), 500, 1000, 0.06), WARN),
        (DirectoryEvidence(Path("d"), 99, 1000, 0.01), WARN),
        (DirectoryEvidence(Path("d"), 9, 1000, 0.01), FAIL),
        (DirectoryEvidence(Path("d"), error="no such file"), FAIL),
    ],
)
def test_directories(directory: DirectoryEvidence, verdict: CheckVerdict) -> None:
    """A data directory has room, and syncs soon."""
    assert worst(checks.directories_are_good(attrs.evolve(NONE, directories=(directory,)))) is verdict


def test_no_time() -> None:
    """What there was no time for is said."""
    [finding] = checks.all_checked(attrs.evolve(NONE, unchecked=("certificates",)))
    assert (finding.verdict, finding.subject) == (WARN, "certificates")


def test_every_problem_has_a_cure() -> None:
    """What is wrong says what to do."""
    bad = {"bytes": 999, "failing": True, "disk": {"free": 0, "size": 100}, "connected": 9, "most_connected": 9}
    bad["slowed_to"] = {"disk": 1, "follower": 1}
    file = FileEvidence("file", Path("bad"), "found mode 0644")
    found = attrs.evolve(with_shard(**bad), map_error="none", unchecked=("x",), files=(file,))
    assert all(one.cure for one in checks.findings_of(found) if one.verdict is not PASS)
