"""The manifest of a backup: which files belong to it and what they must be. Pure; docs/backup.md has the format.

It is the last file that is written, so that a directory with a manifest has a whole backup; and it carries its own
checksum, so that a manifest that was changed in any byte is noticed.
"""

from __future__ import annotations

import re
from hashlib import sha256

import attrs
import msgspec

from pyshard.errors import BackupDamaged

#: The format of backups that this version writes and reads.
FORMAT = 1

#: Names of files in a backup.
MANIFEST = "manifest.json"
STATE = "cluster.json"

_CHECKSUM = b'"checksum": '
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@attrs.frozen
class FileEntry:
    """One file as the manifest has it.

    :param name: of the file, in the backup's directory.
    :param shard: the shard whose records it has; empty for the file with the cluster state.
    :param documents: how many records it has.
    :param bytes: its length.
    :param sha256: of the whole file, in hex digits.
    """

    name: str
    shard: str
    documents: int
    bytes: int
    sha256: str


@attrs.frozen
class Manifest:
    """What a backup is.

    :param format: of the backup's files.
    :param date: when it was taken: ISO 8601, UTC.
    :param cluster: the cluster's id.
    :param epoch: of the cluster state that it was taken at.
    :param state: the file with the cluster state.
    :param files: one for each shard, in slot order.
    """

    format: int
    date: str
    cluster: str
    epoch: int
    state: FileEntry
    files: tuple[FileEntry, ...]

    @property
    def documents(self) -> int:
        """How many documents the backup has."""
        return sum(one.documents for one in self.files)

    @property
    def bytes(self) -> int:
        """How long its files are, together and without the manifest."""
        return self.state.bytes + sum(one.bytes for one in self.files)


def records_name(number: int, shard: str) -> str:
    """The name of the file with a shard's records.

    :param number: the shard's place in the map, from 0; it keeps names apart that look the same on some systems.
    """
    return f"{number}-{_UNSAFE.sub('_', shard)}.records"


def encode(manifest: Manifest) -> bytes:
    """The manifest's text."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    assert text.endswith(b"\n}")
    body = text[:-2] + b",\n  "
    return body + _last_member(body)


def decode(text: bytes) -> Manifest:
    """The manifest of a text.

    :raises BackupDamaged: it is none, not as it was written, or of a format that this version doesn't know.
    """
    body, found, rest = text.rpartition(_CHECKSUM)
    if not found or found + rest != _last_member(body):
        raise BackupDamaged(f"{MANIFEST}: it was changed since it was written, or isn't whole; use another copy")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BackupDamaged(f"{MANIFEST}: this is no manifest of a backup ({error})") from None
    if manifest.format != FORMAT:
        raise BackupDamaged(
            f"{MANIFEST}: the backup has format {manifest.format}, and this version of pyshard knows format {FORMAT}"
        )
    for entry in (manifest.state, *manifest.files):
        if _UNSAFE.search(entry.name) or entry.name.startswith("."):
            raise BackupDamaged(f"{MANIFEST}: found the file name {entry.name!r}, expected one in the same directory")
    return manifest


def _last_member(body: bytes) -> bytes:
    """The member of the JSON object that holds the checksum of all before it, and the object's end."""
    return _CHECKSUM + b'"%s"\n}\n' % sha256(body).hexdigest().encode()
