"""What pyshard adds to twistd. Names only: twistd imports this file to list its commands, even those it won't run."""

import gc
from typing import Any

from twisted.application.service import ServiceMaker


class Daemon(ServiceMaker):
    """A command of twistd, whose modules are loaded without a look for garbage, and which no later look visits.

    They are there to stay. To go through them again and again took a fifth of a daemon's start.
    """

    @property
    def options(self) -> Any:
        """The command line's class. Whoever asks for it loads the daemon."""
        collected = gc.isenabled()
        gc.disable()
        try:
            return super().options
        finally:
            gc.freeze()
            if collected:
                gc.enable()


shard = Daemon(
    "pyshard shard",
    "pyshard.shard.plugin",
    "Store the documents of one range of keys (a pyshard shard).",
    "pyshard-shard",
)
bootstrap = Daemon(
    "pyshard bootstrap",
    "pyshard.bootstrap.plugin",
    "Tell shards and clients who owns which keys (a pyshard bootstrap).",
    "pyshard-bootstrap",
)
