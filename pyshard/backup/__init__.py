"""Backups: every record of a running cluster in a directory of portable files, and back (docs/backup.md)."""

from pyshard.backup.file_reader import verify
from pyshard.backup.manifest import Manifest
from pyshard.backup.restoring import Restored, restore
from pyshard.backup.taking import backup

__all__ = ["Manifest", "Restored", "backup", "restore", "verify"]
