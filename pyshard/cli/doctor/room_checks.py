"""The checks of `pyshard doctor` on what can run out: bytes, disks, connections; and on this machine's files. Pure."""

from __future__ import annotations

from pyshard.cli.doctor.cluster_checks import CLUSTER_CHECKS
from pyshard.cli.doctor.evidence import Evidence
from pyshard.cli.doctor.findings import Finding, failed, found_or_passed, near, passed, warned
from pyshard.cli.people_numbers import size

_LIMIT = 0.80, 0.95  # the parts of a limit that are near it, and too near
_DISK = 0.90, 0.99  # the same of a disk
_GROWING = 'the documentation, "Growing and shrinking"'
_SLOW = 0.05  # seconds of a commit or a sync
_SLOWED = {  # why writers are slowed down, and what to do
    "disk": (
        "so that its disk keeps up",
        f"write less at once, use a faster disk, or move some of its documents to another shard: {_GROWING}",
    ),
    "follower": (
        "so that a copy for a move or a replica ends",
        "wait, write less for a while, or have it keep more changes (--followed-log-size); 'pyshard jobs' and "
        "'pyshard replica list' say how far it is",
    ),
}


def limits_have_room(found: Evidence) -> list[Finding]:
    """Whether no shard is near its limit, beyond which it refuses writes."""
    wrong = []
    fullest = 0.0
    for one, own, told in found.shards:
        part = told.bytes / own.limit if own.limit else 1.0
        fullest = max(fullest, part)
        text = f"{size(told.bytes)} of {size(own.limit)} are used, {part:.0%}"
        cure = f"give it a larger size in the config ('pyshard apply'), or move some of it: {_GROWING}"
        wrong += near("limits", one.name, part, _LIMIT, text, cure)
    return found_or_passed("limits", wrong, f"the fullest shard uses {fullest:.0%}") if found.shards else []


def disks_have_room(found: Evidence) -> list[Finding]:
    """Whether the disks of durable shards have room, and take what is written."""
    wrong = []
    known = 0
    for one, own, told in found.shards:
        if told.failing:
            cure = "its log has the disk's error; it serves reads, and takes changes again once a write works"
            wrong.append(failed("disks", one.name, "its disk takes no changes", cure))
        if told.disk is None:
            continue
        known += 1
        text = f"{_free(told.disk.free, told.disk.size)} where its data lies"
        cure = f"remove other files there, or move some of its documents to another shard: {_GROWING}"
        full = near("disks", one.name, _used(told.disk.free, told.disk.size), _DISK, text, cure)
        wrong += full
        if not full and told.disk.free < own.limit - told.bytes:
            text += f", and its limit lets it grow by {size(own.limit - told.bytes)}"
            cure = "remove other files there, or give it a smaller size in the config ('pyshard apply')"
            wrong.append(warned("disks", one.name, text, cure))
    if wrong:
        return wrong
    return [passed("disks", f"those of {known} shard{'' if known == 1 else 's'} have room")] if known else []


def commits_are_fast(found: Evidence) -> list[Finding]:
    """Whether durable shards commit in good time."""
    means = []
    for one, _, told in found.shards:
        if told.commits is not None and (count := sum(told.commits.seconds.counts)):
            means.append((one.name, told.commits.seconds.sum / count))
    cure = (
        "use a faster disk, or have nothing else write to it; 'iostat -x 1' shows how busy it is: the documentation, "
        '"How a shard keeps its documents"'
    )
    wrong = [
        warned("commits", name, f"one takes {mean * 1000:.0f} ms on average", cure)
        for name, mean in means
        if mean > _SLOW
    ]
    slowest = max((mean for _, mean in means), default=0.0)
    text = f"one takes {slowest * 1000:.1f} ms on average at the most"
    return found_or_passed("commits", wrong, text) if means else []


def writers_are_not_slowed(found: Evidence) -> list[Finding]:
    """Whether shards take what is written as fast as it comes."""
    wrong = []
    known = [(one.name, told.slowed_to) for one, _, told in found.shards if told.slowed_to is not None]
    for name, rates in known:
        for reason, (text, cure) in _SLOWED.items():
            if (rate := rates.get(reason)) is not None:
                wrong.append(warned("writers", name, f"they are slowed down to {size(rate)} a second, {text}", cure))
    return found_or_passed("writers", wrong, "none are slowed down") if known else []


def connections_have_room(found: Evidence) -> list[Finding]:
    """Whether no daemon is near its limit of connections or of open files."""
    wrong = []
    most = 0.0
    for one, told in found.telling:
        for limit, what, cure in (
            (told.most_connected, "connections", "raise its --max-connections, or use fewer clients"),
            (told.files, "open files", "raise its limit of open files ('ulimit -n', or LimitNOFILE= of its unit)"),
        ):
            if not limit or told.connected is None:
                continue
            part = told.connected / limit
            most = max(most, part)
            text = f"{told.connected:,} connections, and at most {limit:,} {what}"
            wrong += near("connections", one.name, part, _LIMIT, text, cure)
    return found_or_passed("connections", wrong, f"{most:.0%} are in use at the most") if found.telling else []


def files_are_kept_well(found: Evidence) -> list[Finding]:
    """Whether the files with secrets that were named can be used, and nobody else can get at them."""
    if not found.files:
        return []
    cure = (
        "a daemon or client starts with a file that is there, its owner's, and nobody else's to read: the "
        "documentation, "
        '"Security"'
    )
    wrong = [failed("files", f"{one.what} {one.path}", one.error, cure) for one in found.files if one.error]
    return found_or_passed("files", wrong, "those with secrets are readable by their owner alone")


def directories_are_good(found: Evidence) -> list[Finding]:
    """Whether the data directories of this machine that were named have room, and are fast."""
    findings = []
    for one in found.directories:
        name = str(one.path)
        text = _free(one.free, one.size)
        if one.error:
            cure = "give a directory that exists and is yours: --data-dir"
            findings.append(failed("directories", name, one.error, cure))
            continue
        cure = "remove other files there, or use a larger disk"
        full = near("directories", name, _used(one.free, one.size), _DISK, text, cure)
        findings += full
        if full:
            continue
        if one.sync is not None and one.sync > _SLOW:
            slow = f"a sync takes {one.sync * 1000:.0f} ms"
            findings.append(warned("directories", name, slow, "each commit waits for one: use a faster disk"))
        else:
            sync = "" if one.sync is None else f", and a sync takes {one.sync * 1000:.1f} ms"
            findings.append(passed("directories", f"{name}: {text}{sync}"))
    return findings


def all_checked(found: Evidence) -> list[Finding]:
    """Whether there was time for everything."""
    return [warned("time", one, "there was no time to check it", "give a larger --deadline") for one in found.unchecked]


def _free(free: int, whole: int) -> str:
    return f"{size(free)} are free, {free / whole if whole else 0.0:.0%}"


def _used(free: int, whole: int) -> float:
    """The part of a disk that is used; one without a size is full."""
    return (whole - free) / whole if whole else 1.0


#: All checks, in the order in which they are shown.
CHECKS = (
    *CLUSTER_CHECKS,
    limits_have_room,
    disks_have_room,
    commits_are_fast,
    writers_are_not_slowed,
    connections_have_room,
    files_are_kept_well,
    directories_are_good,
    all_checked,
)


def findings_of(found: Evidence) -> list[Finding]:
    """What all checks find."""
    return [finding for check in CHECKS for finding in check(found)]
