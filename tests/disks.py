"""What stands in for `os` under a log: a disk that fails when it is told to, and one that loses its power."""

from __future__ import annotations

import os
import stat
from errno import EIO, ENOSPC
from pathlib import Path
from random import Random
from typing import Any

import pytest

SECTOR = 512


_LOG = "pyshard.storage.durable.log_file"


def put_under_logs(patched: pytest.MonkeyPatch, system: System | Disk) -> None:
    """Have logs, and nothing else, call something that stands in for `os`."""

    def sync_directory(path: Path) -> None:
        folder = system.open(path, os.O_RDONLY)
        try:
            system.fsync(folder)
        finally:
            system.close(folder)

    patched.setattr(f"{_LOG}.os", system)
    patched.setattr(
        f"{_LOG}.private_descriptor", lambda path, flags: system.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    )
    patched.setattr(f"{_LOG}.sync_directory", sync_directory)


class System:
    """Stands in for `os` under a log: notes what it is asked for, and has some of it fail.

    :ivar calls: the names of those that write, in order.
    :ivar failing: names of those that fail.
    :ivar failing_once: names of those that fail the next time and not again.
    :ivar room: how many bytes the disk still takes; None: any number.
    :ivar most: how many bytes one call takes at the most.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.failing_once: set[str] = set()
        self.room: int | None = None
        self.most: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, file: int, data: memoryview, place: int) -> int:
        """As the system's."""
        self._called("pwrite")
        if self.room is not None:
            data = data[: self.room]
            if not data:
                raise OSError(ENOSPC, "No space left on device")
            self.room -= len(data)
        return os.pwrite(file, data[: self.most], place)

    def fdatasync(self, file: int) -> None:
        """As the system's."""
        self._called("fdatasync")
        os.fdatasync(file)

    def fsync(self, file: int) -> None:
        """As the system's."""
        folder = stat.S_ISDIR(os.fstat(file).st_mode)
        self._called("fsync of the folder" if folder else "fsync")
        os.fsync(file)

    def truncate(self, file: int, size: int) -> None:
        """As the system's."""
        self._called("truncate")
        os.truncate(file, size)

    def take(self) -> list[str]:
        """The calls since the last time."""
        taken, self.calls = self.calls, []
        return taken

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing | self.failing_once:
            self.failing_once.discard(name)
            raise OSError(EIO, "Input/output error")


class Stopped(BaseException):  # not an Exception: nothing can go on
    """The power failed, or the process was killed."""


class Disk:
    """Stands in for `os` under logs, on a disk that may lose its power.

    What the process sees are the files themselves; what the disk has of each is in a `Platter`.

    :ivar danger: how probable it is that each call is where everything stops.
    :ivar trouble: how probable it is that each call fails.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.danger = self.trouble = 0.0
        self._open: dict[int, Platter | None] = {}  # None: a folder
        self._platters: dict[Path, Platter] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """As the system's."""
        file = os.open(path, flags, mode)
        if path.is_dir():
            self._open[file] = None
        else:
            self._open[file] = self._platters.setdefault(path, Platter(path, self._random))
        self._maybe_stop()
        return file

    def close(self, file: int) -> None:
        """As the system's."""
        del self._open[file]
        os.close(file)

    def pwrite(self, file: int, data: memoryview, place: int) -> int:
        """As the system's; it may take whole sectors only and then fail, or not."""
        self._maybe_stop()
        if self._has_trouble():
            boundaries = range(SECTOR - place % SECTOR, len(data), SECTOR)
            if not boundaries or self._random.random() < 0.5:
                raise OSError(ENOSPC, "No space left on device")
            data = data[: self._random.choice(boundaries)]
        written = os.pwrite(file, data, place)
        self._platter_of(file).changed(file, range(place // SECTOR, (place + written - 1) // SECTOR + 1))
        self._maybe_stop()
        return written

    def truncate(self, file: int, size: int) -> None:
        """As the system's."""
        self._maybe_stop()
        if self._has_trouble():
            raise OSError(EIO, "Input/output error")
        os.truncate(file, size)
        self._platter_of(file).changed(file, range(size // SECTOR, size // SECTOR + 1))
        self._maybe_stop()

    def fdatasync(self, file: int) -> None:
        """As the system's."""
        self._maybe_stop()
        if self._has_trouble():
            self._platter_of(file).forget_some()
            raise OSError(EIO, "Input/output error")
        self._platter_of(file).sync(os.fstat(file).st_size)
        self._maybe_stop()

    def fsync(self, file: int) -> None:
        """As the system's."""
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            self.fdatasync(file)
            return
        self._maybe_stop()
        for platter in self._platters.values():
            platter.named = True
        self._maybe_stop()

    def stop(self, power: bool) -> None:
        """Have the files as they are found after everything has stopped.

        :param power: whether the power failed; else the process was killed.
        """
        for file in self._open:
            os.close(file)
        self._open = {}
        if power:
            for platter in self._platters.values():
                platter.stop()

    def _platter_of(self, file: int) -> Platter:
        platter = self._open[file]
        assert platter is not None
        return platter

    def _has_trouble(self) -> bool:
        return self._random.random() < self.trouble

    def _maybe_stop(self) -> None:
        if self._random.random() < self.danger:
            raise Stopped


class Platter:
    """What a disk has of a file, in sectors of 512 bytes.

    Of each sector, and of the file's size, any state since the last sync may have reached it, in any order. A sync that
    fails leaves some sectors as they are for good, unless they are written again, as Linux does.

    :ivar named: whether the disk has the file's name.
    """

    def __init__(self, path: Path, random: Random) -> None:
        self._path = path
        self._random = random
        self._sectors: dict[int, bytes] = {}
        self._size = 0
        self._written: dict[int, list[bytes]] = {}
        self._sizes: list[int] = []
        self.named = False

    def changed(self, file: int, sectors: range) -> None:
        """Some sectors were written, but not to the disk."""
        for sector in sectors:
            now = os.pread(file, SECTOR, sector * SECTOR).ljust(SECTOR, b"\0")
            self._written.setdefault(sector, []).append(now)
        self._sizes.append(os.fstat(file).st_size)

    def sync(self, size: int) -> None:
        """The disk has it all."""
        self._sectors.update((sector, states[-1]) for sector, states in self._written.items())
        self._became(size)

    def forget_some(self) -> None:
        """A sync has failed."""
        for sector in [each for each in self._written if self._random.random() < 0.5]:
            self._sectors[sector] = self._any_state_of(sector)
            del self._written[sector]

    def stop(self) -> None:
        """The power has failed: have the file as the disk has it."""
        for sector in self._written:
            self._sectors[sector] = self._any_state_of(sector)
        self._became(self._random.choice([self._size, *self._sizes]))
        if self.named or self._random.random() < 0.5:
            sectors = range(-(-self._size // SECTOR))
            data = b"".join(self._sectors.get(sector, bytes(SECTOR)) for sector in sectors)
            self._path.write_bytes(data[: self._size])
        else:
            self._path.unlink(missing_ok=True)
            self._sectors, self._size = {}, 0

    def _became(self, size: int) -> None:
        self._size = size
        self._written, self._sizes = {}, []
        for sector, data in self._sectors.items():  # beyond the end there are zeros, whatever the disk has there
            self._sectors[sector] = data[: max(0, size - sector * SECTOR)].ljust(SECTOR, b"\0")

    def _any_state_of(self, sector: int) -> bytes:
        before, states = self._sectors.get(sector, bytes(SECTOR)), self._written[sector]
        return self._random.choice([before, states[-1], self._random.choice(states)])
