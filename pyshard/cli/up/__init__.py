"""`pyshard up`: a whole cluster in the foreground, for a laptop or one machine (docs/cli.md)."""

from pyshard.cli.up.command import up

__all__ = ["up"]
