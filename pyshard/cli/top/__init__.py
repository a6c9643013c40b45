"""`pyshard top`: the cluster at work, live (docs/cli.md).

`samples` holds what shards tell at one moment, `rates` makes figures of two of them, `table` shows these, and `command`
asks and draws, again and again.
"""
