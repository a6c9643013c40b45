"""The text of a config file: a cluster's shards and addresses → what `pyshard.model.config_file` reads back. Pure.

Rules:

- a shard with one range has ``start`` and ``end``; one with several, or none, has ``ranges``;
- bounds are hashes of whole slots, so they are read back as they were;
- a shard with replicas stands at its first one, in the order of its group, whichever leads;
- each shard stands on a line of its own, so that two files can be compared.
"""

from __future__ import annotations

import json

from pyshard.model.address_text import host_and_port
from pyshard.model.config_file import ClusterConfig
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.shard_map import MapShard


def config_text(config: ClusterConfig) -> bytes:
    """A config as the JSON of its file, in UTF-8. Identities of stores don't stand in it."""
    shards = [_line(_shard_entry(shard, config)) for shard in config.map.shards]
    bootstrap: dict[str, object] = {"host": config.bootstrap_host, "port": config.bootstrap_port}
    if config.bootstrap_listen:
        bootstrap["listen"] = config.bootstrap_listen
    lines = ",\n    ".join(shards)
    return f'{{\n  "shards": [\n    {lines}\n  ],\n  "bootstrap": {_line(bootstrap)}\n}}\n'.encode()


def _shard_entry(shard: MapShard, config: ClusterConfig) -> dict[str, object]:
    ranges = [[slot_to_hash(start), slot_to_hash(end)] for start, end in shard.ranges]
    where = {"start": ranges[0][0], "end": ranges[0][1]} if len(ranges) == 1 else {"ranges": ranges}
    first, *others = shard.places
    listen = config.listen.get(shard.name, "")
    entry = {"name": shard.name, **where, "size": shard.limit, **_place(*first, listen)}
    if shard.group is None or not others:
        return entry
    replicas = [_place(host, port, config.replicas_listen.get(host_and_port(host, port), "")) for host, port in others]
    return {**entry, "replicas": replicas, "min_replicas": shard.group.least, "lease": shard.group.lease}


def _place(host: str, port: int, listen: str) -> dict[str, object]:
    place: dict[str, object] = {"host": host, "port": port}
    return {**place, "listen": listen} if listen else place


def _line(entry: dict[str, object]) -> str:
    return json.dumps(entry, ensure_ascii=False)
