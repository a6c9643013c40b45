"""The file into which `pyshard plan --output` writes the config that it proposes.

Rules:

- a config file that is there keeps what the cluster's map doesn't know: where its daemons listen, and the bootstrap's
  address;
- a file that is no config is left alone;
- the file is whole or as it was (`pyshard.cli.whole_file`).
"""

from __future__ import annotations

from pathlib import Path

import attrs

from pyshard.cli.common_options import Target
from pyshard.cli.whole_file import whole_file
from pyshard.errors import ConfigError
from pyshard.model import config_file
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.model.shard_map import ShardMap
from pyshard.net import address_parsing
from pyshard.settings import settings


def replaced_config(path: Path | None) -> ClusterConfig | None:
    """The config in the file that is to be written; None: there is no such file yet.

    :raises ConfigError: something else is in it.
    """
    if path is None or not path.exists():
        return None
    try:
        return config_file.load(path)
    except ConfigError as error:
        raise ConfigError(f"--output: {error}; give a file that doesn't exist yet, or a config file") from None


def proposed_config(shards: ShardMap, before: ClusterConfig | None, target: Target) -> ClusterConfig:
    """The config with these shards.

    :param before: that in whose place it comes. Without one, the bootstrap is where the command finds it.
    """
    if before is None:
        first = address_parsing.parse_all(target.bootstrap or settings.BOOTSTRAP_SERVER)[0]
        if not first.port:  # a Twisted endpoint string: it has no place in a config file
            first = address_parsing.parse_all(settings.BOOTSTRAP_SERVER)[0]
        return ClusterConfig(shards, first.host, first.port)
    listen = {name: where for name, where in before.listen.items() if shards.named(name) is not None}
    addresses = {address for shard in shards.shards for address in shard.addresses}
    replicas_listen = {address: where for address, where in before.replicas_listen.items() if address in addresses}
    return attrs.evolve(before, map=shards, listen=listen, replicas_listen=replicas_listen)


def write_config(path: Path, config: ClusterConfig) -> None:
    """Write a config file.

    :raises ConfigError: it can't be written; what was there stands.
    """
    try:
        with whole_file(path, private=False) as file:
            file.write(config_text(config))
    except OSError as error:
        raise ConfigError(f"--output: {path} can't be written ({error.strerror}); give another file") from None
