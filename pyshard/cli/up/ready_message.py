"""What `up` tells the user when the cluster is ready: how to use it, and what becomes of its documents. Pure."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from rich.text import Text

from pyshard.cli.common_options import BOOTSTRAP_VARIABLE
from pyshard.cli.up.addresses_to_dial import bootstrap_here, shards_here
from pyshard.cli.up.directories import ClusterData
from pyshard.model.address_mapping import VARIABLE as ADDRESSES_VARIABLE
from pyshard.model.address_mapping import AddressMapping, HostAndPort
from pyshard.model.address_text import host_and_port
from pyshard.model.config_file import ClusterConfig
from pyshard.model.shard_map import MapShard
from pyshard.security.tls import Tls
from pyshard.security.tls.config import CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE
from pyshard.settings import settings


def usage(cluster: ClusterConfig, token_file: Path | None = None, files: Tls | None = None) -> Text:
    """How to use the cluster from this machine, in the shell and in Python.

    :param token_file: the daemons' token file.
    :param files: the daemons' files of TLS.
    """
    here, detours = bootstrap_here(cluster), shards_here(cluster)
    announced = (cluster.bootstrap_host, cluster.bootstrap_port)
    bootstrap = host_and_port(*here)
    default = list(here) == settings.BOOTSTRAP_SERVER
    option = "" if default and BOOTSTRAP_VARIABLE not in os.environ else f" --bootstrap {bootstrap}"
    argument = "" if default else repr(bootstrap)
    if token_file is not None:
        option += f" --token-file {shlex.quote(str(token_file))}"
        argument += ", " * bool(argument) + f"token_file={str(token_file)!r}"
    lines = [
        f"bootstrap  {host_and_port(*announced)}{'' if here == announced else f' (here {bootstrap})'}",
        *(line for shard in cluster.map.shards for line in _shard_lines(detours, shard)),
        "",
        *exports(files),
        *([f"export {ADDRESSES_VARIABLE}={shlex.quote(str(detours))}"] if detours.pairs else []),
        f"pyshard write{option} KEY DOC",
        f"pyshard read{option} KEY",
        "",
        "from pyshard import Pyshard",
        f"app = Pyshard({argument})",
        "app.write('test', {'hello': 'world'})",
    ]
    return Text("\n".join(lines))


def _shard_lines(detours: AddressMapping, shard: MapShard) -> list[str]:
    first, *others = [f"{host_and_port(*place)}{_here(detours, place)}" for place in shard.places]
    return [f"shard      {first}  {shard.bounds}  {shard.name}", *(f"  replica  {other}" for other in others)]


def _here(detours: AddressMapping, place: HostAndPort) -> str:
    dialed = detours.dialed(*place)
    return "" if dialed == place else f" (here {host_and_port(*dialed)})"


def exports(files: Tls | None) -> list[str]:
    """The shell commands after which clients use the daemons' files of TLS."""
    if files is None:
        return []
    named = {CA_VARIABLE: files.ca, CERTIFICATE_VARIABLE: files.certificate, KEY_VARIABLE: files.key}
    return [f"export {name}={shlex.quote(str(file))}" for name, file in named.items() if file is not None]


def fate_of_documents(data: ClusterData | None, replicated: bool = False) -> str:
    """What becomes of the documents when the cluster ends.

    :param replicated: whether shards have replicas.
    """
    if data is None and replicated:
        return "Documents are kept in memory: they are gone when all replicas of their shard have ended."
    if data is None:
        return "Documents are kept in memory: they are gone when their shard ends."
    again = f"pyshard up --data-dir {shlex.quote(str(data.directory))}"
    return f"Documents are kept on disk: {again} has them again."
