"""The blocking face of the client."""

from pyshard.blocking.index import BlockingIndex
from pyshard.blocking.pyshard import Pyshard

__all__ = ["BlockingIndex", "Pyshard"]
