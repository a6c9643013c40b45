"""What the commands of one `pyshard shell` share: its options, its clients, and the keys that it has seen.

It is the `obj` of each command's root context. Outside of a shell there is none.

Rules:

- a client stays connected until the shell ends. There is one for each way of connecting, so mostly one;
- an option of the shell counts where a command has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from pyshard.blocking import Pyshard
    from pyshard.cli.common_options import Target
    from pyshard.cli.shell.known_names import KnownNames

_MOST = 4  # clients; a deadline of its own takes one of its own


class SharedClients:
    """What the commands of a shell share.

    :param given: the shell's own options, by the names of their parameters; None: not given.
    :ivar names: the keys and indexes that the shell knows, for completion; None: it completes nothing.
    """

    def __init__(self, given: Mapping[str, object], names: KnownNames | None = None) -> None:
        self.given = given
        self.names = names
        self._made: list[tuple[Target, Pyshard]] = []

    def client(self, target: Target) -> Pyshard:
        """The client for a target, connected at its first use.

        :raises PyshardError: it can't be connected.
        """
        wanted = attrs.evolve(target, index=None)
        for known, client in self._made:
            if known == wanted:
                return client
        made = target.new_client()
        self._made.append((wanted, made))
        if len(self._made) > _MOST:
            self._made.pop(0)[1].close()
        return made

    def close(self) -> None:
        """End all connections."""
        while self._made:
            self._made.pop()[1].close()


def shared_by(context: click.Context) -> SharedClients | None:
    """What a command shares with others; None: it doesn't run in a shell."""
    found = context.find_root().obj
    return found if isinstance(found, SharedClients) else None


def refuse_in_shell(context: click.Context) -> None:
    """Refuse a subcommand that makes no sense in a shell.

    :raises click.UsageError: this is one.
    """
    if shared_by(context) is not None:
        raise click.UsageError(f"this is a shell already; {context.info_name!r} runs outside of it", context)


def outer_options(context: click.Context) -> dict[str, object]:
    """The options that count where a subcommand has none: those before it, and behind these those of the shell."""
    root = context.find_root()
    shared = shared_by(context)
    if shared is None:
        return dict(root.params)
    typed = [name for name in root.params if root.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return {**shared.given, **{name: root.params[name] for name in typed}}
