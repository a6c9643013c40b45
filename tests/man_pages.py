"""The man pages in docs/man/: written from the command and the daemons' options, so that they say what these do.

Write them anew after a change of options: ``python tests/man_pages.py``. tests/test_man_pages.py compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
from blocks import CHECKOUT
from twisted.python import usage

from pyshard.bootstrap.plugin import BootstrapOptions
from pyshard.cli import cli
from pyshard.cli.exit_codes import ExitCode
from pyshard.cli.subcommands import ListedCommand
from pyshard.shard.plugin import ShardOptions

FOLDER = CHECKOUT / "docs" / "man"

_SEE = {
    "pyshard": "pyshard-shard, pyshard-bootstrap",
    "pyshard-shard": "pyshard, pyshard-bootstrap, twistd",
    "pyshard-bootstrap": "pyshard, pyshard-shard, twistd",
}

_TWISTD = """\
.SH OPTIONS OF TWISTD
They stand before the plugin's name. These matter most:
.TP
.B \\-\\-nodaemon
Stay in the foreground, as systemd and containers want it.
.TP
.B \\-\\-pidfile=\\fIFILE\\fP
Where the process's id is written; nothing after the sign: nowhere.
.TP
.B \\-\\-logfile=\\fIFILE\\fP
Where the log is written.
.SH SIGNALS
.TP
.B SIGTERM, SIGINT, SIGUSR2
The daemon drains: it answers what it was asked before, refuses what comes later, and ends with exit code 0.
.TP
.B SIGHUP
It opens its log file again, and reads tokens and certificates again.
.TP
.B SIGUSR1
It puts its log file aside, and begins a new one.
.SH ENVIRONMENT
.TP
.B NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID
Where systemd hears how the daemon fares, and how often it wants to.
.SH EXIT STATUS
0 after a drain; 1 after a mistake in the options or files, with one line on standard error.
"""


def escaped(text: str) -> str:
    """A text as roff takes it."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(['.])", r"\\&\1", text, flags=re.MULTILINE)


def paragraphs(text: str) -> str:
    """Paragraphs, with an empty line between each two; one that begins with ``\\b`` keeps its lines."""
    found = []
    for paragraph in filter(str.strip, re.split(r"\n\s*\n", text)):
        lines = [line.strip(" ") for line in paragraph.strip(" \n").splitlines()]
        if lines[0] == "\b":
            found.append("\n.br\n".join(map(escaped, lines[1:])))
        else:
            found.append(escaped(" ".join(lines)))
    return "\n.PP\n".join(found) + "\n"


def head(name: str, what: str, synopsis: str) -> str:
    """The beginning of a page."""
    return (
        '.\\" Written by tests/man_pages.py: change the options instead.\n'
        f'.TH {escaped(name.upper())} 1 "" "pyshard" "pyshard"\n'
        f".SH NAME\n{escaped(name)} \\- {escaped(what)}\n"
        f".SH SYNOPSIS\n.B {escaped(synopsis)}\n"
    )


def foot(name: str) -> str:
    """The end of a page."""
    others = ", ".join(f"{escaped(other)}(1)" for other in _SEE[name].split(", "))
    where = "Messages name the pages of pyshard's documentation by their titles; the source distribution has them."
    return f".SH SEE ALSO\n{others}\n.PP\n{where}\n"


def item(term: str, text: str) -> str:
    """A term and what it means."""
    return f".TP\n.B {escaped(term)}\n{paragraphs(text)}"


def leaves(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """The commands below a command, or itself if there are none."""
    if not isinstance(command, click.Group):
        yield command, context
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        if isinstance(below, ListedCommand):
            below = below.load()
        if not below.hidden:
            yield from leaves(below, click.Context(below, info_name=name, parent=context))


def records(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The options of a command, each with its help, but those that all have."""
    shared = {parameter.name for parameter in cli.params} if command is not cli else set()
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and record[0] != "--help" and parameter.name not in shared:
            yield record


def command_page() -> str:
    """The page of the `pyshard` command."""
    root = click.Context(cli, info_name="pyshard", terminal_width=100, max_content_width=100)
    text = head("pyshard", "the command for a cluster of pyshard", "pyshard COMMAND [OPTIONS] [ARGUMENTS]")
    text += ".SH DESCRIPTION\n" + paragraphs(cli.help or "")
    if options := list(records(cli, root)):
        text += ".SH OPTIONS\n" + "".join(item(*option) for option in options)
    text += ".SH COMMANDS\n"
    for command, context in leaves(cli, root):
        usage_ = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        text += f'.SS "{escaped(usage_)}"\n' + paragraphs(command.help or "")
        text += "".join(item(*option) for option in records(command, context))
    page = (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8").partition("\n## Exit codes\n")[2]
    codes = re.findall(r"^\| (\d+) \| (.*) \|$", page.partition("\n## ")[0], re.MULTILINE)
    assert len(codes) == len(ExitCode)
    text += ".SH EXIT STATUS\n" + "".join(item(code, meaning.replace("`", "")) for code, meaning in codes)
    return text + foot("pyshard")


def daemon_options(options: usage.Options) -> Iterator[tuple[str, str]]:
    """The options of a daemon, each with its help, in the order of the alphabet."""
    for long in sorted(options.longOpt):
        name = long.rstrip("=")
        if name in ("help", "version"):
            continue
        short = next((key for key, value in options.synonyms.items() if value == name and len(key) == 1), None)
        method = getattr(options, "opt_" + name.replace("-", "_"), None)
        said = options.docs.get(name) or (method.__doc__ if method is not None else "") or ""
        default = options.defaults.get(name)
        if default is not None and long.endswith("=") and "[default" not in said:
            said += f" [default: {default}]"
        term = f"--{name}" + (f"={name.upper()}" if long.endswith("=") else "")
        yield (f"-{short}, {term}" if short else term), said


def daemon_page(name: str, options: ShardOptions | BootstrapOptions, what: str) -> str:
    """The page of a daemon."""
    text = head(name, what, f"twistd [OPTIONS OF TWISTD] {name} {options.synopsis}".strip())
    text += ".SH DESCRIPTION\n" + paragraphs(options.longdesc)
    text += ".SH OPTIONS\n" + "".join(item(*option) for option in daemon_options(options))
    return text + _TWISTD + foot(name)


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    return {
        "pyshard.1": command_page(),
        "pyshard-shard.1": daemon_page("pyshard-shard", ShardOptions(), "one shard of a cluster, run by twistd"),
        "pyshard-bootstrap.1": daemon_page(
            "pyshard-bootstrap", BootstrapOptions(), "the bootstrap of a cluster, run by twistd"
        ),
    }


def main(folder: Path = FOLDER) -> None:
    """Write all pages."""
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
