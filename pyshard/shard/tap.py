"""``twistd pyshard-shard``: options, and the service they make."""

from __future__ import annotations

import uuid

from twisted.application.service import IService
from twisted.internet.interfaces import IReactorTime
from twisted.python import usage

from pyshard import daemon
from pyshard.errors import ConfigError
from pyshard.settings import settings
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore


class Options(usage.Options):
    """Command line of one shard."""

    synopsis = "[options]"
    longdesc = (
        "Run one shard. It keeps its documents in memory, waits until a bootstrap configures it, then serves. "
        "Two daemons in one folder need a --pidfile each (an option of twistd itself, before the plugin's name)."
    )
    optParameters = [
        ["port", "p", settings.SHARD_PORT, "TCP port to listen on."],
        ["host", None, "127.0.0.1", "Name or IP address to listen on."],
        ["listen", "l", None, "Twisted server endpoint string to listen on, in place of --host and --port."],
    ]

    def postOptions(self) -> None:
        """Check where to listen, before anything is started."""
        try:
            if self["listen"] is None:
                self["listen"] = daemon.listen_string(self["host"], daemon.port_number(self["port"], "--port"))
        except ConfigError as error:
            daemon.end(error)


def makeService(options: Options) -> IService:
    """The service that twistd runs."""
    from twisted.internet import reactor

    assert IReactorTime.providedBy(reactor)
    try:
        endpoint = daemon.server_endpoint(reactor, options["listen"])
    except ConfigError as error:
        daemon.end(error)
    shard = Shard(MemoryStore(uuid.uuid4().hex), reactor.seconds)
    return ShardService(shard, reactor, endpoint)
