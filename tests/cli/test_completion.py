"""`completion`: the scripts, and that of bash in a real bash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from in_process_command import Commands

from pyshard.cli.completion import SHELLS


def completed(words: str, folder: Path) -> list[str]:
    """What bash offers for the last of some words."""
    command = folder / "pyshard"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pyshard.cli "$@"\n')
    command.chmod(0o755)
    script = f"""
        PATH="{folder}:$PATH"
        eval "$(pyshard completion bash)"
        complete -p pyshard >/dev/null || exit 9
        COMP_WORDS=({words}); COMP_CWORD=$(({len(words.split())} - 1))
        _pyshard_completion pyshard
        printf '%s\n' "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pyshard rep", ["replace", "replica"]),
        ("pyshard res", ["restore"]),
        ("pyshard index dr", ["drop"]),
        ("pyshard write --if", ["--if-absent", "--if-version"]),
        ("pyshard token --role ba", ["backup"]),
        ("pyshard completion z", ["zsh"]),
        ("pyshard read some", []),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash(tmp_path: Path, words: str, offered: list[str]) -> None:
    """bash completes subcommands, options and choices; it asks no cluster for keys."""
    assert completed(words, tmp_path) == offered


@pytest.mark.parametrize("shell", list(SHELLS))
def test_scripts(pyshard: Commands, shell: str) -> None:
    """Each shell has its script, which says how it is used."""
    ended = pyshard("completion", shell)
    assert (ended.code, ended.error) == (0, "")
    assert ended.out.startswith(f"# In use by: {SHELLS[shell]}\n")
    assert f"_PYSHARD_COMPLETE={shell}_complete" in ended.out


def test_unknown_shell(pyshard: Commands) -> None:
    """A shell that has none is refused with those that have."""
    ended = pyshard("completion", "ksh")
    assert (ended.code, ended.out) == (2, "")
    assert "bash" in ended.error
