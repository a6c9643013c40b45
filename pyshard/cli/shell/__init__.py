"""`pyshard shell`: many commands over one connection (docs/cli.md). The command is in `pyshard.cli.shell.command`."""
