"""The manifest of a backup: its files, with their lengths and checksums. Pure; docs/backup.md has the format.

Rules:

- it is written last, so a directory with a manifest holds a whole backup;
- it carries its own checksum, so a change of any byte is noticed;
- it names files of its own directory only, each once, and no more than there can be shards.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import BackupDamaged, shown_value
from pyshard.model.range_moves import Count
from pyshard.settings import settings

#: The format of backups that this version writes and reads.
FORMAT = 2

#: Names of files in a backup.
MANIFEST = "manifest.json"
STATE = "cluster.json"

_CHECKSUM = b'"checksum": '
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@attrs.frozen
class FileEntry:
    """What the manifest says about one file.

    :param name: the file's name in the backup's directory.
    :param shard: the shard whose records it holds; empty for the file of the cluster state.
    :param documents: the number of its records.
    :param bytes: its length.
    :param sha256: the SHA-256 of the whole file, in hexadecimal.
    """

    name: str
    shard: str
    documents: Count
    bytes: Count
    sha256: str


@attrs.frozen
class Manifest:
    """The content of a manifest.

    :param format: of the backup's files.
    :param date: when it was taken: ISO 8601, UTC.
    :param cluster: the cluster's id.
    :param epoch: the epoch of the cluster state.
    :param state: the file of the cluster state.
    :param files: one for each shard, in slot order.
    """

    format: Count
    date: str
    cluster: str
    epoch: Count
    state: FileEntry
    files: Annotated[tuple[FileEntry, ...], msgspec.Meta(max_length=settings.MAX_SHARDS)]

    @property
    def documents(self) -> int:
        """The number of documents in the backup."""
        return sum(entry.documents for entry in self.files)

    @property
    def bytes(self) -> int:
        """The length of all its files without the manifest."""
        return self.state.bytes + sum(entry.bytes for entry in self.files)


def records_name(number: int, shard: str) -> str:
    """The name of the file with a shard's records.

    :param number: the shard's place in the map, from 0; it tells apart names that are equal on some file systems.
    """
    return f"{number}-{_UNSAFE.sub('_', shard)}.records"


def encode(manifest: Manifest) -> bytes:
    """The manifest's text."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    assert text.endswith(b"\n}")
    body = text[:-2] + b",\n  "
    return body + _last_member(body)


def decode(text: bytes) -> Manifest:
    """The manifest in a text.

    :raises BackupDamaged: it is no manifest, it was changed, or this version doesn't know its format.
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
    names: set[str] = set()
    for entry in (manifest.state, *manifest.files):
        if _UNSAFE.search(entry.name) or entry.name.startswith("."):
            name = shown_value(entry.name)
            raise BackupDamaged(f"{MANIFEST}: found the file name {name}, expected one in the same directory")
        if entry.name in names:
            raise BackupDamaged(f"{MANIFEST}: found the file {shown_value(entry.name)} twice, expected each once")
        names.add(entry.name)
    return manifest


def _last_member(body: bytes) -> bytes:
    """The last member of the JSON object, with the checksum of everything before it, and the object's end."""
    return _CHECKSUM + b'"%s"\n}\n' % sha256(body).hexdigest().encode()
