"""The list of subcommands: each has a line for ``--help``, and is loaded when it is called.

Rules:

- A command loads no other one, since what `up` and `backup` need takes longer to load than to read a document;
- the line is how the subcommand's own help begins (tests/cli/test_subcommands.py);
- each stands in one section of ``pyshard --help``.
"""

from __future__ import annotations

from typing import cast

import click

from pyshard.cli.module_loading import loaded_module


class ListedCommand(click.Command):
    """A subcommand as the list shows it.

    :param module: of `pyshard.cli`, in which the subcommand is.
    :param line: what it does.
    :ivar own_process: whether it needs a reactor, which runs once in a process.
    """

    def __init__(self, name: str, module: str, line: str) -> None:
        super().__init__(name, help=line)
        self.own_process = module in _WITH_REACTOR
        self._name = name
        self._module = module

    def load(self) -> click.Command:
        """The subcommand itself."""
        return cast("click.Command", getattr(loaded_module(f"pyshard.cli.{self._module}"), self._name))


#: The subcommands of each module of `pyshard.cli`, with their lines.
_LINES = {
    "up": {
        "up": "Run the bootstrap and all shards of a cluster, until Ctrl-C.",
    },
    "one_key_commands": {
        "read": "Print the document of KEY, as one line of JSON.",
        "item": "Print everything about KEY, as one line of JSON.",
        "write": "Store DOC under KEY, and print its size.",
        "pop": "Remove KEY, and print the document that it had, as `read` does.",
        "remove": "Remove KEY, and print the size of the document that it had.",
        "has": "Print true when KEY exists, else false (exit code 1).",
        "touch": "Let the document of KEY expire after SECONDS, or never.",
        "incr": "Add to the integer of KEY, atomically, and print the new value.",
    },
    "everyday_commands": {
        "get": "Print the document of KEY as `read` does, or a default.",
        "add": "Store DOC under KEY where there is none, and print its size.",
        "replace": "Store DOC in place of the document of KEY, and print its size.",
        "locate": "Print where KEY lies, whether it exists or not, as one line of JSON.",
        "count": "Print how many documents the index has.",
        "clear": "Remove all documents of the index, and print how many were removed.",
    },
    "keys_and_indexes": {
        "keys": "Print all keys, one a line, in the order of their hashes.",
        "index": "Create, drop or list indexes.",
    },
    "stat": {
        "stat": "Show the state of each shard.",
    },
    "plan_apply": {
        "plan": "Show what would move to bring the cluster to a config.",
        "apply": "Bring the cluster to the shards and ranges of the config FILE.",
    },
    "move_drain_split": {
        "move": "Move the documents of RANGE to another shard.",
        "drain": "Move all that SHARD has to other shards.",
        "split": "Move half of what SHARD has to another shard.",
    },
    "move_jobs": {
        "jobs": "Show the moves of ranges, or change one.",
    },
    "replica_subcommands": {
        "replica": "Show the replicas of shards, or change one.",
    },
    "load_cat": {
        "load": "Store the documents of FILE, or of standard input (-), one key|document a line.",
        "cat": "Write all documents to standard output, one key|document a line, as `load` reads them.",
    },
    "backup_restore": {
        "backup": "Write all documents of the cluster into DIR.",
        "restore": "Write the backup in DIR into an empty cluster.",
    },
    "state_copy": {
        "state": "Show or copy the state of a cluster, where it is kept.",
    },
    "token": {
        "token": "Print a new token, as a line for a token file.",
    },
    "top.command": {
        "top": "Show what each shard does, live.",
    },
    "doctor.command": {
        "doctor": "Check the cluster and this machine, and say what to do.",
    },
    "shell.command": {
        "shell": "Run many commands over one connection.",
    },
    "completion": {
        "completion": "Print the script by which SHELL completes this command.",
    },
}

#: The modules whose subcommands run a reactor.
_WITH_REACTOR = {
    "up",
    "plan_apply",
    "move_drain_split",
    "move_jobs",
    "replica_subcommands",
    "backup_restore",
    "state_copy",
}

#: The sections of ``pyshard --help``, with their subcommands.
SECTIONS = {
    "Documents": [
        "read", "get", "item", "has", "write", "add", "replace", "incr", "touch", "pop", "remove", "locate",
    ],
    "Whole indexes": ["keys", "count", "cat", "load", "clear", "index"],
    "The cluster": ["up", "stat", "top", "doctor", "replica", "backup", "restore", "state"],
    "Growing and shrinking": ["plan", "apply", "move", "drain", "split", "jobs"],
    "Security": ["token"],
    "This command": ["shell", "completion"],
}  # fmt: skip

#: Every subcommand.
SUBCOMMANDS = [ListedCommand(name, module, line) for module, lines in _LINES.items() for name, line in lines.items()]
