"""Backups: every record of a running cluster in a directory of portable files, and back (docs/backup.md)."""

from pyshard.backup.manifest import Manifest
from pyshard.backup.restoring import Restored, restore
from pyshard.backup.taking import backup
from pyshard.backup.verified_backup import verify

__all__ = ["Manifest", "Restored", "backup", "restore", "verify"]
