"""When a change is acknowledged: the three modes of `--durability`."""

from __future__ import annotations

from enum import Enum


class Durability(Enum):
    """What has happened when a change is acknowledged; docs/storage.md says what each mode may lose."""

    FSYNC = "fsync"  # the log is on the disk
    ASYNC = "async"  # the log is written, and is synced every second
    NONE = "none"  # the log is written, and is synced when the system likes
