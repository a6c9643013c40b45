"""`pyshard doctor`: checks a cluster and this machine (docs/cli.md).

`gathering` asks and looks, everything else here is pure: `cluster_checks`, `shard_checks` and `machine_checks` judge
what was gathered (`evidence`), each finding is a `findings.Finding`, and `report` shows them.
"""
