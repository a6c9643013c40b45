"""Histories with power failures: on which disk, and how a failure tells its seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from disks import Disk, put_under_logs


@contextmanager
def told(seed: object, patched: pytest.MonkeyPatch, disk: Disk) -> Iterator[None]:
    """Have logs use a disk; an error gets a note with the seed of the history."""
    put_under_logs(patched, disk)
    try:
        yield
    except BaseException as error:
        error.add_note(f"seed: {seed}")
        raise
