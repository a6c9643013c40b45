"""The write-ahead log has what it promised after a power failure, or after its process was killed, at any moment."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from disks import Disk, Stopped
from storage.durable.power_failures import told
from stores import folder

from pyshard.protocol.log_groups import LogGroup
from pyshard.storage.durable.log_file import LogFile

IDENTITY = "00112233445566778899aabbccddeeff"


@pytest.fixture(autouse=True)
def _small_laps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make laps cut their files often."""
    monkeypatch.setattr("pyshard.storage.durable.log_file._KEPT", 3000)


# -- the log --------------------------------------------------------------------------------------------------------


class LogHistory:
    """A log file, and the groups that it must have.

    :ivar seen: what has happened, how often.
    :ivar flushed: the number up to which LMDB has all groups.
    :ivar written: number → payload of the groups that were acknowledged and that LMDB lacks.
    :ivar sure: the number of the last group that must be there whatever happens.
    :ivar doubtful: the group that may be there, for nobody was told that it is, or that it isn't for good.
    """

    log: LogFile

    def __init__(self, path: Path, disk: Disk, random: Random, seen: Counter[str]) -> None:
        self._path = path
        self._disk = disk
        self._random = random
        self._syncs = random.choice([0, 0.5, 1])
        self._danger = random.choice([0, 0.02, 0.1])
        self._trouble = random.choice([0, 0.1, 0.3])
        self._power_failed = False  # since the last start
        self.seen = seen
        self.flushed = self.sure = 0
        self.written: dict[int, bytes] = {}
        self.doubtful: LogGroup | None = None

    def run(self, steps: int) -> None:
        """Start, do so many steps, and check once more."""
        self.start()
        for _ in range(steps):
            does = self._random.choices([self.append, self.restart, self.sync, self.stop], [10, 2, 2, 2])[0]
            self._disk.danger, self._disk.trouble = self._danger, self._trouble
            try:
                does()
            except OSError:
                self.seen["failed"] += 1
            except Stopped:
                self.stop()
        self.stop()

    def append(self) -> None:
        """One more group."""
        size = self._random.choice([8, 40, 443, 1000, 2500])
        group = LogGroup(self.log.sequence + 1, self._random.randbytes(8).ljust(size, b"."))
        sync, broken = self._random.random() < self._syncs, self.log.broken
        try:
            self.log.append(group.payload, sync)
        except OSError:
            if self.log.broken and not broken:
                self.doubtful = group
            raise
        except Stopped:
            self.doubtful = group
            raise
        self.written[group.sequence] = group.payload
        if sync:
            self.sure = group.sequence

    def restart(self) -> None:
        """LMDB has all groups; a group that may be there is passed over."""
        self.flushed = self.sure = max(self.flushed, self.log.sequence + self.log.broken)
        self.written, self.doubtful = {}, None
        self.log.begin_lap(self.flushed)

    def sync(self) -> None:
        """What was acknowledged is sure."""
        if not self.log.broken:
            self.log.sync()
            self.sure = self.log.sequence

    def stop(self) -> None:
        """The power fails, or the process is killed."""
        power = self._random.random() < 0.7
        self._power_failed |= power
        self._disk.stop(power)
        self.start()

    def start(self) -> None:
        """Open the log, and check that it has what it must."""
        self._disk.danger, self._disk.trouble = self._danger, 0
        try:
            self.log = LogFile.found(self._path, IDENTITY, self.flushed, self._random.randbytes)
        except Stopped:
            self.stop()
            return
        self.check(self.log.groups)
        self._power_failed = False
        self.flushed = max(self.flushed, 1)

    def check(self, groups: list[LogGroup]) -> None:
        """Compare what was found with what was written."""
        last = self.flushed + len(groups)
        newest = max(self.written, default=self.flushed)
        assert [group.sequence for group in groups] == list(range(self.flushed + 1, last + 1))
        assert last >= (self.sure if self._power_failed else newest)
        if groups and groups[-1] == self.doubtful:
            self.seen["doubtful, and there"] += 1
            self.written[last] = groups[-1].payload
        else:
            self.seen["all there"] += last == newest
            self.seen["some missing"] += last < newest
        self.written = {number: text for number, text in self.written.items() if number <= last}
        assert {group.sequence: group.payload for group in groups} == self.written
        self.sure, self.doubtful = last, None


def test_a_log_after_a_power_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """All synced groups are there, then some of the others without a gap, and nothing else.

    Whatever fails and wherever it stops, the log can be opened.
    """
    seen: Counter[str] = Counter()
    for seed in range(500):
        random = Random(seed)
        with folder() as made, monkeypatch.context() as patched:
            path = made / "log"
            disk = Disk(random)
            with told(seed, patched, disk):
                LogHistory(path, disk, random, seen).run(30)
            disk.stop(False)
    assert set(seen) == {"failed", "doubtful, and there", "all there", "some missing"}
    assert min(seen.values()) > 100
