"""What pyshard adds to twistd. Names only: twistd imports this file to list its commands, even those it won't run."""

from twisted.application.service import ServiceMaker

shard = ServiceMaker(
    "pyshard shard",
    "pyshard.shard.plugin",
    "Store the documents of one range of keys (a pyshard shard).",
    "pyshard-shard",
)
bootstrap = ServiceMaker(
    "pyshard bootstrap",
    "pyshard.bootstrap.plugin",
    "Tell shards and clients who owns which keys (a pyshard bootstrap).",
    "pyshard-bootstrap",
)
