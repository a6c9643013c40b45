"""Files that a subcommand writes: whole, or as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from in_process_command import Commands, Ended

from pyshard.cli.whole_file import whole_file


def mode(path: Path) -> int:
    """The permissions of a file."""
    return path.stat().st_mode & 0o777


def test_new_file(tmp_path: Path) -> None:
    """A new file is there at the end only; one with documents is its owner's alone."""
    path = tmp_path / "file"
    with whole_file(path, private=True) as file:
        file.write(b"content")
        assert not path.exists()
    assert (path.read_bytes(), mode(path)) == (b"content", 0o600)
    with whole_file(tmp_path / "config", private=False) as file:
        file.write(b"content")
    (tmp_path / "plain").touch()
    assert mode(tmp_path / "config") == mode(tmp_path / "plain")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "config", "plain"}


def test_replaced_file(tmp_path: Path) -> None:
    """A file that was there keeps its mode, and a link its target."""
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with whole_file(link, private=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert (path.read_bytes(), mode(path), link.is_symlink()) == (b"new", 0o640, True)


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()])
def test_failure(tmp_path: Path, error: BaseException) -> None:
    """What fails in the middle leaves the file as it was, and nothing beside it."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write() -> None:
        with whole_file(path, private=True) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_files_beside(tmp_path: Path) -> None:
    """A user's own file with nearly the same name stands, and two that write at the same time don't meet."""
    own = tmp_path / "file.new"
    own.write_bytes(b"precious")
    with whole_file(tmp_path / "file", private=True) as file, whole_file(tmp_path / "file", private=True) as other:
        file.write(b"new")
        other.write(b"newer")
        hidden = [path.name for path in tmp_path.iterdir() if path != own]
        assert [name.startswith(".file.") and name.endswith(".new") for name in hidden] == [True, True]
    assert (own.read_bytes(), (tmp_path / "file").read_bytes()) == (b"precious", b"new")
    assert len(list(tmp_path.iterdir())) == 2


def test_what_somebody_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there already at the very name of the file beside isn't written through, nor removed."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".file.guessed.new").symlink_to(victim)
    with pytest.raises(FileExistsError), whole_file(tmp_path / "file", private=True) as file:
        file.write(b"new")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / ".file.guessed.new").is_symlink()


def test_device() -> None:
    """What is no file is written to as it is."""
    with whole_file(Path("/dev/null"), private=True) as file:
        file.write(b"content")
    assert not Path("/dev/null").is_file()


def test_pipe(tmp_path: Path) -> None:
    """A pipe is written to, also by its name in /dev/fd, which is a link to no path at all."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        link = tmp_path / "link"
        link.symlink_to(f"/dev/fd/{writing}")
        with whole_file(link, private=True) as file:
            file.write(b"content")
        os.close(writing)
        assert pipe.read() == b"content"
    assert list(tmp_path.iterdir()) == [link]


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C, which ends the process at once, leaves nothing half-written."""
    program = """
import signal, sys
from pathlib import Path
from pyshard.cli.signals import ExitOnInterrupt
from pyshard.cli.whole_file import whole_file
ExitOnInterrupt().install()
with whole_file(Path("file"), private=True) as file:
    file.write(b"x")
    file.flush()
    print("begun", flush=True)
    signal.pause()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    [beside] = tmp_path.iterdir()
    assert beside.name.startswith(".file.")
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=30)[1]
    assert error.decode() == f"pyshard: interrupted; {tmp_path / 'file'} is as it was\n"
    assert (process.returncode, list(tmp_path.iterdir())) == (130, [])


def test_cat(pyshard: Commands, tmp_path: Path) -> None:
    """``cat -o`` writes what `cat` prints; a failure in the middle leaves the file as it was."""
    path = tmp_path / "documents.txt"
    pyshard("load", "-", text="1|a\n2|b\n")
    assert pyshard("cat", "-o", str(path)) == Ended(0, "", "")
    assert path.read_text() == pyshard("cat").out
    before = path.read_bytes()
    pyshard("write", "a|b", "c")
    assert pyshard("cat", "-o", str(path)).code == 2
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    ended = pyshard("cat", "-o", str(tmp_path / "no" / "folder"))
    assert (ended.code, ended.out) == (6, "")
    assert ended.error.startswith("pyshard: --output: ")
