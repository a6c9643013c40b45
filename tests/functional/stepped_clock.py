"""A wall clock that is stepped for real: a library, preloaded into daemons and programs, that moves it.

The library answers in place of the C library's functions, so that a step is seen by everything in the process: Python,
Twisted, and what is written in C. It moves CLOCK_REALTIME alone, as `date --set` does. Debian's faketime moves the
others too; told to leave them alone, it makes Python's `time.sleep` fail.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

_COMPILER = shutil.which("cc") or shutil.which("gcc")

#: For tests that need it.
STEPS = pytest.mark.skipif(
    sys.platform != "linux" or _COMPILER is None, reason="no C compiler (cc, gcc): the clock can't be stepped"
)

#: The file with the seconds that the clock is ahead, as 8 bytes.
_VARIABLE = "PYSHARD_TEST_CLOCK"

#: For programs: `step(seconds)` puts their own clock on, or back.
STEP = f"""
import os, struct
def step(seconds):
    with open(os.environ["{_VARIABLE}"], "r+b", buffering=0) as file:
        ahead, = struct.unpack("q", file.read(8))
        file.seek(0)
        file.write(struct.pack("q", ahead + seconds))
"""

_LIBRARY = f"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {{
    const char *path = getenv("{_VARIABLE}");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) abort();
    ahead = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (ahead == MAP_FAILED) abort();
    close(file);
}}

int clock_gettime(clockid_t clock, struct timespec *now) {{
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *ahead;
    return failed;
}}

int gettimeofday(struct timeval *now, void *zone) {{
    struct timespec found;
    (void) zone;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}}

time_t time(time_t *seconds) {{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (seconds) *seconds = found.tv_sec;
    return found.tv_sec;
}}
"""


@cache
def _library(folder: Path) -> Path:
    """The compiled library."""
    assert _COMPILER is not None
    source, made = folder / "stepped_clock.c", folder / "stepped_clock.so"
    source.write_text(_LIBRARY)
    subprocess.run([_COMPILER, "-shared", "-fPIC", "-O2", "-o", str(made), str(source)], check=True)
    return made


class SteppedClock:
    """The wall clock of some processes.

    :param folder: where the library is kept.
    :param file: where it is kept how far this clock is ahead.
    """

    def __init__(self, folder: Path, file: Path) -> None:
        self._library = _library(folder)
        self._file = file
        self._ahead = 0
        self._write()

    def of(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process that has this clock."""
        return {**environment, "LD_PRELOAD": str(self._library), _VARIABLE: str(self._file)}

    def step(self, seconds: int) -> None:
        """Put it on, or back."""
        self._ahead += seconds
        self._write()

    def _write(self) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, struct.pack("q", self._ahead))
        finally:
            os.close(descriptor)
