"""The blocking face of the client."""

from pyshard.blocking.pyshard import BlockingIndex, Pyshard

__all__ = ["BlockingIndex", "Pyshard"]
