"""The subcommand `completion`: a script that has a shell complete the command. click makes it, and answers it later."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pyshard.cli.common_options import refuse_outer
from pyshard.cli.standard_output import put_lines

#: The shells, each with the line that uses the script.
SHELLS = {
    "bash": 'eval "$(pyshard completion bash)"   # in ~/.bashrc; bash 4.4 or later',
    "zsh": 'eval "$(pyshard completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "pyshard completion fish > ~/.config/fish/completions/pyshard.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)), metavar="SHELL")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes this command.

    SHELL is bash, zsh or fish. It completes subcommands, options and files, and asks no cluster. `pyshard shell`
    completes keys and indexes, too.

    \b
    Examples:
      eval "$(pyshard completion bash)"     in ~/.bashrc
      eval "$(pyshard completion zsh)"      in ~/.zshrc, after compinit
      pyshard completion fish > ~/.config/fish/completions/pyshard.fish
    """
    refuse_outer(context)
    found = get_completion_class(shell)
    assert found is not None
    text = found(context.find_root().command, {}, "pyshard", "_PYSHARD_COMPLETE").source()
    put_lines(f"# In use by: {SHELLS[shell]}\n{text.strip()}\n".encode())
