"""The config file of a cluster, such as ``etc/shards.json``: its JSON → a shard map and the bootstrap's address.

Rules:

- the file is the original pyshard's: ``{"shards": [{"name", "start", "end", "size", "host", "port"}, …]}``, and
  optionally ``"bootstrap": {"host", "port"}``; other fields are refused;
- an error is one line, which names file, field, what was found and what was expected.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import ConfigError, shortened, shown_value
from pyshard.model.key_slots import hash_to_slot
from pyshard.model.shard_map import ShardMap, ShardRange
from pyshard.settings import settings

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=settings.MAX_NAME)]
_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _ShardEntry(msgspec.Struct, forbid_unknown_fields=True):
    name: _Name
    start: _Fraction
    end: _Fraction
    size: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    host: _Host
    port: _Port


class _BootstrapEntry(msgspec.Struct, forbid_unknown_fields=True):
    host: _Host = str(settings.BOOTSTRAP_SERVER[0])
    port: _Port = int(settings.BOOTSTRAP_SERVER[1])


class _ConfigFile(msgspec.Struct, forbid_unknown_fields=True):
    shards: list[_ShardEntry]
    bootstrap: _BootstrapEntry = msgspec.field(default_factory=_BootstrapEntry)


@attrs.frozen
class ClusterConfig:
    """What a config file says.

    :param map: the ranges, without the shards' identities.
    :param bootstrap_host: name or IP address at which the bootstrap listens and clients find it.
    :param bootstrap_port: its TCP port.
    """

    map: ShardMap
    bootstrap_host: str
    bootstrap_port: int


def load(path: Path | str) -> ClusterConfig:
    """Read a config file.

    :raises ConfigError: in one line: file, field, what was found, what was expected.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); expected a config file in JSON") from None
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(text: bytes) -> ClusterConfig:
    """The config that a file's text says; see `load`."""
    try:
        raw: object = msgspec.json.decode(text.removeprefix(BOM_UTF8))  # as some editors begin a file
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"found text that is not JSON ({error}), expected an object with 'shards'") from None
    try:
        read = msgspec.convert(raw, type=_ConfigFile)
    except msgspec.ValidationError as error:
        raise ConfigError(_explained(str(error), raw)) from None
    ranges = []
    for number, shard in enumerate(read.shards):
        bounds: list[int] = []
        for field, value in (("start", shard.start), ("end", shard.end)):
            try:
                bounds.append(hash_to_slot(value))
            except ValueError:
                raise ConfigError(
                    f"shards[{number}].{field}: found {shown_value(value)}, expected a number from 0 to 1 with at "
                    "most seven decimal places"
                ) from None
        start, end = bounds
        ranges.append(ShardRange(shard.name, start, end, shard.size, shard.host, shard.port))
    return ClusterConfig(ShardMap(ranges), read.bootstrap.host, read.bootstrap.port)


_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<number>\d+)\]")


def _explained(message: str, raw: object) -> str:
    """What msgspec says about `raw`, as "field: found …, expected …"."""
    parts = _MESSAGE.fullmatch(message)
    assert parts is not None  # the pattern matches any text
    what, path = parts["what"], parts["path"] or ""
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL)
    if missing:
        return f"{f'{path}.{missing[1]}'.lstrip('.')}: found nothing, expected this field to be given"
    if unknown:
        name = shortened(repr(unknown[1])[1:-1])  # a line break in it stays on the line
        return f"{f'{path}.{name}'.lstrip('.')}: found a field that doesn't exist here, expected no such field"
    expected = re.sub(r", got .*", "", what.replace("`", "")).removeprefix("Expected ")
    expected = expected.replace("object", "a JSON object").replace("array", "a JSON array")
    return f"{path.lstrip('.') or 'the file'}: found {_shown(_at(raw, path))}, expected {expected}"


def _at(raw: object, path: str) -> object:
    """The value that a path such as ``.shards[0].port`` leads to."""
    for step in _STEP.finditer(path):
        if isinstance(raw, dict) and step["name"]:
            raw = raw.get(step["name"])
        elif isinstance(raw, list) and step["number"]:
            raw = raw[int(step["number"])]
    return raw


def _shown(value: object) -> str:
    return shortened(msgspec.json.encode(value).decode())
