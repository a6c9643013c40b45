"""The config file of a cluster, such as ``etc/shards.json``: its JSON → a shard map and the bootstrap's address.

Rules:

- the file is the original pyshard's: ``{"shards": [{"name", "start", "end", "size", "host", "port"}, …]}``, and
  optionally ``"bootstrap": {"host", "port"}``; other fields are refused;
- in place of start and end a shard may have ``"ranges": [[start, end], …]``: several ranges, or none;
- a bound is rounded to the nearest slot, so that 1/3 is one, too, and the same for both neighbors;
- ``"replicas": [{"host", "port"}, …]`` beside host and port are further processes that hold the shard's documents. With
  them ``"min_replicas"`` says how many must have all of them for changes to be taken, and ``"lease"`` how many seconds
  the one that leads goes on without a word of the others;
- host and port are announced: who wants to reach the daemon dials them. ``"listen"`` beside them says where it listens,
  if that is elsewhere;
- an error is one line, which names file, field, what was found and what was expected.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import ConfigError, shortened
from pyshard.model.address_text import host_and_port, split_listening
from pyshard.model.key_slots import hash_to_slot
from pyshard.model.regular_file import read_regular
from pyshard.model.replica_group import MapReplica, ReplicaGroup, new_group
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.settings import settings

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=settings.MAX_NAME)]
_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Listen = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Ranges = Annotated[list[tuple[_Fraction, _Fraction]], msgspec.Meta(max_length=settings.MAX_SHARD_RANGES)]

_LONGEST = settings.MAX_STATE_BYTES  # bytes of a config file, as many as a cluster's state has: it is read whole
_EXPLAINED = 256 * 1024  # bytes of a text of which an error says what was found; else it says where

_ENDPOINT = re.compile(r"[A-Za-z][\w-]*:.", re.ASCII)  # the beginning of a Twisted endpoint string


class _ReplicaEntry(msgspec.Struct, forbid_unknown_fields=True):
    host: _Host
    port: _Port
    listen: _Listen = ""


class _ShardEntry(msgspec.Struct, forbid_unknown_fields=True):
    name: _Name
    size: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    host: _Host
    port: _Port
    start: _Fraction | msgspec.UnsetType = msgspec.UNSET
    end: _Fraction | msgspec.UnsetType = msgspec.UNSET
    ranges: _Ranges | msgspec.UnsetType = msgspec.UNSET
    listen: _Listen = ""
    replicas: Annotated[list[_ReplicaEntry], msgspec.Meta(max_length=settings.MAX_REPLICAS - 1)] = []
    min_replicas: Annotated[int, msgspec.Meta(ge=1, le=settings.MAX_REPLICAS)] | msgspec.UnsetType = msgspec.UNSET
    lease: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] | msgspec.UnsetType = msgspec.UNSET


class _BootstrapEntry(msgspec.Struct, forbid_unknown_fields=True):
    host: _Host = str(settings.BOOTSTRAP_SERVER[0])
    port: _Port = int(settings.BOOTSTRAP_SERVER[1])
    listen: _Listen = ""


class _ConfigFile(msgspec.Struct, forbid_unknown_fields=True):
    shards: Annotated[list[_ShardEntry], msgspec.Meta(max_length=settings.MAX_SHARDS)]
    bootstrap: _BootstrapEntry = msgspec.field(default_factory=_BootstrapEntry)


_decode = msgspec.json.Decoder(_ConfigFile).decode


@attrs.frozen
class ShardPlace:
    """Where one process of a shard is.

    :param shard: the shard's name.
    :param number: from 1, in the order of its replicas.
    :param host: where others reach it.
    :param port: its TCP port.
    :param listen: where it listens, if that is elsewhere.
    """

    shard: str
    number: int
    host: str
    port: int
    listen: str | None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"shard {self.shard!r}" if self.number == 1 else f"replica {self.number} of shard {self.shard!r}"


@attrs.frozen
class ClusterConfig:
    """What a config file says.

    :param map: the shards and their ranges, without their identities.
    :param bootstrap_host: name or IP address at which clients find the bootstrap, and where it listens unless
        `bootstrap_listen` says otherwise.
    :param bootstrap_port: its TCP port.
    :param listen: by the names of shards that listen elsewhere than at their address in the map: where. It is
        ``host:port``, or a Twisted server endpoint string.
    :param replicas_listen: the same by the addresses of further replicas.
    :param bootstrap_listen: the same for the bootstrap; None: at its host and port.
    """

    map: ShardMap
    bootstrap_host: str
    bootstrap_port: int
    listen: Mapping[str, str] = attrs.field(factory=dict)
    bootstrap_listen: str | None = None
    replicas_listen: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def places(self) -> list[ShardPlace]:
        """Where each shard is, and each further replica, in the order of the map."""
        return [
            ShardPlace(
                shard.name,
                number,
                host,
                port,
                self.listen.get(shard.name) if number == 1 else self.replicas_listen.get(host_and_port(host, port)),
            )
            for shard in self.map.shards
            for number, (host, port) in enumerate(shard.places, 1)
        ]


def load(path: Path | str) -> ClusterConfig:
    """Read a config file.

    :raises ConfigError: in one line: file, field, what was found, what was expected.
    """
    try:
        text = read_regular(Path(path), _LONGEST)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); expected a config file in JSON") from None
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(text: bytes) -> ClusterConfig:
    """The config that a file's text says; see `load`."""
    text = text.removeprefix(BOM_UTF8)  # as some editors begin a file
    try:
        read = _decode(text)
    except msgspec.ValidationError as error:  # found at once, while to take in all of it would take long
        raise ConfigError(_explained(str(error), text)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(error) from None
    shards = []
    listen: dict[str, str] = {}
    replicas_listen: dict[str, str] = {}
    for number, shard in enumerate(read.shards):
        ranges = [(hash_to_slot(start), hash_to_slot(end)) for start, end in _ranges_of(f"shards[{number}]", shard)]
        own = MapShard(shard.name, ranges, shard.size, shard.host, shard.port)
        group = _group_of(f"shards[{number}]", shard)
        shards.append(own if group is None else own.led_by_group(group))
        for place, replica in enumerate(shard.replicas):
            if replica.listen:
                address = host_and_port(replica.host, replica.port)
                where = _checked_listen(f"shards[{number}].replicas[{place}].listen", replica.listen)
                replicas_listen[address] = where
        if shard.listen:
            listen[shard.name] = _checked_listen(f"shards[{number}].listen", shard.listen)
    bootstrap = read.bootstrap
    elsewhere = _checked_listen("bootstrap.listen", bootstrap.listen) if bootstrap.listen else None
    return ClusterConfig(ShardMap(shards), bootstrap.host, bootstrap.port, listen, elsewhere, replicas_listen)


def _ranges_of(field: str, shard: _ShardEntry) -> list[tuple[float, float]]:
    """The ranges of a shard, as hashes: those of `ranges`, or the one from `start` to `end`."""
    short = {"start": shard.start, "end": shard.end}
    given = [name for name, bound in short.items() if bound is not msgspec.UNSET]
    if shard.ranges is not msgspec.UNSET:
        if given:
            raise ConfigError(f"{field}.{given[0]}: found it beside ranges, expected either ranges, or start and end")
        return shard.ranges
    if shard.start is msgspec.UNSET or shard.end is msgspec.UNSET:
        missing = "end" if given == ["start"] else "start"
        raise ConfigError(f"{field}.{missing}: found nothing, expected start and end to be given, or ranges")
    return [(shard.start, shard.end)]


def _group_of(field: str, shard: _ShardEntry) -> ReplicaGroup | None:
    """The replicas of a shard; None: it has none beside the one at its host and port."""
    if not shard.replicas:
        for name, given in {"min_replicas": shard.min_replicas, "lease": shard.lease}.items():
            if given is not msgspec.UNSET:
                raise ConfigError(f"{field}.{name}: found it without replicas, expected both or neither")
        return None
    places = [MapReplica(shard.host, shard.port), *(MapReplica(each.host, each.port) for each in shard.replicas)]
    least = None if shard.min_replicas is msgspec.UNSET else shard.min_replicas
    if least is not None and least > len(places):
        raise ConfigError(f"{field}.min_replicas: found {least}, expected at most {len(places)}, as many as there are")
    try:
        return new_group(places, least, settings.LEASE if shard.lease is msgspec.UNSET else shard.lease)
    except ValueError as error:
        raise ConfigError(f"{field}: {error}") from None


def _checked_listen(field: str, text: str) -> str:
    """Where to listen, as far as its form tells; the daemon finds out the rest."""
    address = split_listening(text)
    if _ENDPOINT.match(text) if address is None else 1 <= address[1] <= 65535:
        return text
    raise ConfigError(
        f"{field}: found {_shown(text)}, expected HOST:PORT with a port from 1 to 65535, or a Twisted server endpoint "
        "string such as 'tcp:5050:interface=0.0.0.0'"
    )


_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<number>\d+)\]")


def _not_json(error: Exception) -> ConfigError:
    return ConfigError(f"found text that is not JSON ({error}), expected an object with 'shards'")


def _explained(message: str, text: bytes) -> str:
    """What msgspec says about a text, as "field: found …, expected …".

    :raises ConfigError: the text is no JSON further on.
    """
    try:
        raw: object = msgspec.json.decode(text) if len(text) <= _EXPLAINED else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(error) from None
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
    found = _shown(_at(raw, path)) if len(text) <= _EXPLAINED else "something else"
    return f"{path.lstrip('.') or 'the file'}: found {found}, expected {expected}"


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
