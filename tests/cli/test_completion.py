"""`completion`: the scripts, each in its real shell, where that is installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from in_process_command import Commands

from pyshard.cli.completion import SHELLS

#: Seconds within which a shell has completed.
PATIENCE = 200

#: Lines, each with the words that are offered for its last one.
OFFERED = {
    "pyshard rep": ["replace", "replica"],
    "pyshard index dr": ["drop"],
    "pyshard write --if": ["--if-absent", "--if-version"],
    "pyshard token --role ba": ["backup"],
    "pyshard up --log-format ": ["json", "text"],
    "pyshard read some": [],
}

#: Lines, each with what becomes of it when Tab is pressed. ``etc/`` has ``shards.json`` and ``two words.json``.
COMPLETED = {
    "pyshard up --config etc/sh": "pyshard up --config etc/shards.json",
    "pyshard up --config=etc/sh": "pyshard up --config=etc/shards.json",
    "pyshard up --log-format=j": "pyshard up --log-format=json",
    "pyshard load etc/two": r"pyshard load etc/two\ words.json",
    "pyshard --address=a:1=b:2 write --if-v": "pyshard --address=a:1=b:2 write --if-version",
    "pyshard --bootstrap 10.0.0.7:9192 write --if-v": "pyshard --bootstrap 10.0.0.7:9192 write --if-version",
    r"pyshard read it\'s --inde": r"pyshard read it\'s --index",
    "true | X=1 pyshard comp": "true | X=1 pyshard completion",
}

#: Ctrl-B writes down the line as it is, and empties it.
BASHRC = r"""
eval "$(pyshard completion bash)"
bind -x '"\C-b": printf "%s\n" "$READLINE_LINE" >>completed; READLINE_LINE='
"""

#: Completes each line of a file as Tab does. `compadd` is what gives words to zsh: here it writes them down, too.
ZSHRC = r"""
autoload -U compinit && compinit -u -D
eval "$(pyshard completion zsh)"
lines=("${(@f)$(<lines)}")
number=0
compadd() {
    local -a given
    builtin compadd -A given "$@"
    print -rl -- $given >>offered.$number
    builtin compadd "$@"
}
zle-line-init() {
    if (( number == $#lines )); then
        BUFFER=exit
    else
        (( number += 1 ))
        BUFFER=$lines[number] CURSOR=$#lines[number]
        zle expand-or-complete
        print -r -- "$BUFFER" >completed.$number
        BUFFER=
    fi
    zle accept-line
}
zle -N zle-line-init
"""


class Shell:
    """A shell of a user who has no settings but the completion of `pyshard`.

    :param folder: the user's home, in which it runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = folder / "bin" / "pyshard"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pyshard.cli "$@"\n')
        command.chmod(0o755)
        (folder / "etc").mkdir()
        (folder / "etc" / "shards.json").touch()
        (folder / "etc" / "two words.json").touch()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "FPATH", "BASH_"))}
        path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
        home = {"HOME": str(folder), "ZDOTDIR": str(folder), "PATH": path}
        self.environment: Mapping[str, str] = {**kept, **home, "TERM": "dumb", "LC_ALL": "C.UTF-8"}

    def offered(self, lines: Sequence[str]) -> list[list[str]]:
        """The words that are offered for the last word of each line, in alphabetical order."""
        raise NotImplementedError

    def completed(self, lines: Sequence[str]) -> list[str]:
        """Each line, once Tab was pressed, without a blank at its end."""
        raise NotImplementedError

    def run(self, *command: str) -> str:
        """What a command writes, which complains of nothing."""
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert ended.stderr == ""
        return ended.stdout

    def on_terminal(self, *command: str, typed: str = "") -> str:
        """All that a command shows on a terminal until it ends.

        :param typed: what somebody types there, before the command reads it.
        """
        ours, theirs = pty.openpty()
        shown = b""
        os.write(ours, typed.encode())
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            while select.select([ours], [], [], PATIENCE)[0]:
                shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            pass
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        return shown.decode("utf-8", "replace")


class Bash(Shell):
    """bash: what its function offers, and what becomes of lines that somebody types."""

    def offered(self, lines: Sequence[str]) -> list[list[str]]:
        """See `Shell`."""
        script = 'eval "$(pyshard completion bash)"; complete -p pyshard >/dev/null || exit 9\n'
        for line in lines:
            words = line.split(" ")
            quoted = " ".join(f"'{word}'" for word in words)
            script += f"""
                COMP_LINE='{line}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
                _pyshard_completion pyshard
                echo "${{COMPREPLY[*]}}"
            """
        return [sorted(given.split()) for given in self.run("bash", "--norc", "-c", script).splitlines()]

    def completed(self, lines: Sequence[str]) -> list[str]:
        """See `Shell`."""
        (self.folder / ".bashrc").write_text(BASHRC)
        typed = "".join(f"{line}\t\x02" for line in lines)
        shown = self.on_terminal("bash", "--rcfile", ".bashrc", "-i", typed=f"{typed}exit\r")
        file = self.folder / "completed"
        assert file.exists(), shown
        return [line.rstrip() for line in file.read_text().splitlines()]


class Zsh(Shell):
    """zsh, on a terminal."""

    def offered(self, lines: Sequence[str]) -> list[list[str]]:
        """See `Shell`."""
        self.completed(lines)
        files = [self.folder / f"offered.{number}" for number in range(1, len(lines) + 1)]
        return [sorted({*file.read_text().split("\n")} - {""}) if file.exists() else [] for file in files]

    def completed(self, lines: Sequence[str]) -> list[str]:
        """See `Shell`."""
        (self.folder / ".zshrc").write_text(ZSHRC)
        (self.folder / "lines").write_text("".join(f"{line}\n" for line in lines))
        shown = self.on_terminal("zsh", "-o", "noglobalrcs", "-i")
        files = [self.folder / f"completed.{number}" for number in range(1, len(lines) + 1)]
        assert files[-1].exists(), shown
        return [file.read_text().rstrip() for file in files]


class Fish(Shell):
    """fish: what it offers, with the script in the file that the help names."""

    def offered(self, lines: Sequence[str]) -> list[list[str]]:
        """See `Shell`."""
        return [sorted(word.partition("\t")[0] for word in words) for words in self.described(lines)]

    def completed(self, lines: Sequence[str]) -> list[str]:
        """See `Shell`. fish quotes the word that it puts into the line; so it does here."""
        words = self.offered(lines)
        assert [len(offered) for offered in words] == [1] * len(lines), words
        quoted = [word.replace(" ", r"\ ") for (word,) in words]
        return [f"{line.rpartition(' ')[0]} {word}" for line, word in zip(lines, quoted, strict=True)]

    def described(self, lines: Sequence[str]) -> list[list[str]]:
        """What is offered for each line, each word with its description behind a tab."""
        script = self.folder / ".config" / "fish" / "completions" / "pyshard.fish"
        script.parent.mkdir(parents=True)
        script.write_text(self.run("pyshard", "completion", "fish"))
        loop = "for line in $argv; complete -C $line; echo END; end"
        given = self.run("fish", "--private", "-c", loop, *lines).split("END\n")
        return [words.splitlines() for words in given[:-1]]


@pytest.fixture(
    params=[
        pytest.param(kind, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"there is no {name}"), id=name)
        for name, kind in {"bash": Bash, "zsh": Zsh, "fish": Fish}.items()
    ]
)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """Each shell that is here."""
    kind: type[Shell] = request.param
    return kind(tmp_path)


def test_offered(shell: Shell) -> None:
    """A shell offers subcommands, options and choices; it asks no cluster for keys."""
    assert dict(zip(OFFERED, shell.offered([*OFFERED]), strict=True)) == OFFERED


def test_completed(shell: Shell) -> None:
    """Tab completes what is the only choice: files too, behind a blank and behind "=", and behind words with ":"."""
    assert dict(zip(COMPLETED, shell.completed([*COMPLETED]), strict=True)) == COMPLETED


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_descriptions(tmp_path: Path) -> None:
    """fish shows what a subcommand does, to its end."""
    (words,) = Fish(tmp_path).described(["pyshard writ"])
    assert words == ["write\tStore DOC under KEY, and print its size."]


@pytest.mark.parametrize("name", list(SHELLS))
def test_scripts(pyshard: Commands, name: str) -> None:
    """Each shell has its script, which says how it is used."""
    ended = pyshard("completion", name)
    assert (ended.code, ended.error) == (0, "")
    assert ended.out.startswith(f"# In use by: {SHELLS[name]}\n")
    assert f"_PYSHARD_COMPLETE={name}_complete" in ended.out


def test_unknown_shell(pyshard: Commands) -> None:
    """A shell that has none is refused with those that have."""
    ended = pyshard("completion", "ksh")
    assert (ended.code, ended.out) == (2, "")
    assert "bash" in ended.error
