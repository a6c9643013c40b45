"""The Deferred client."""

from pyshard.client.client import Client, Index, Record, connect
from pyshard.client.pages import KeyPages

__all__ = ["Client", "Index", "KeyPages", "Record", "connect"]
