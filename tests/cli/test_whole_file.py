"""Files that a subcommand writes: whole, or as they were."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from in_process_command import Commands, Ended

from pyshard.cli import whole_file as whole_file_module
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


FOREIGN = [os.geteuid() + 4242]  # owners of whom nothing is here


def test_a_file_of_another_user(tmp_path: Path) -> None:
    """It is refused: its mode could open the documents to its owner. It stands, and nothing is beside it."""
    path = tmp_path / "file"
    path.write_bytes(b"planted")
    with pytest.raises(PermissionError) as refused, whole_file(path, private=True, owners=FOREIGN):
        pass
    assert refused.value.strerror == (
        f"{path} belongs to another user ({os.geteuid()}), who could have planted it; expected one of your own: "
        "'chown' it if you trust what is there"
    )
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"planted"


def test_a_mode_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what another user has may be replaced, as what is root's, its mode isn't taken over."""
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o666)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4242)
    with whole_file(path, private=True, owners=[owner]) as file:
        file.write(b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)


def test_links_of_another_user(tmp_path: Path) -> None:
    """None is followed, wherever it leads: not to a user's own file, nor to where nothing is yet."""
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"precious")
    for target in (victim, tmp_path / "nowhere", Path("/dev/null")):
        link.symlink_to(target)
        with pytest.raises(PermissionError, match="link belongs to another user"):
            whole_file(link, private=True, owners=FOREIGN).__enter__()
        link.unlink()
    assert victim.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [victim]


def test_a_pipe_of_another_user(tmp_path: Path) -> None:
    """It isn't opened, so its reader gets nothing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(PermissionError, match="pipe belongs to another user"):
        whole_file(pipe, private=True, owners=FOREIGN).__enter__()
    os.close(reading)


def test_a_pipe_that_is_put_there_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at once more when it is open."""
    pipe, own = tmp_path / "pipe", tmp_path / "own"
    os.mkfifo(pipe)
    os.mkfifo(own)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    before = own.lstat()
    monkeypatch.setattr(whole_file_module, "_behind_links", lambda path, _: (path, before))
    with pytest.raises(PermissionError, match="pipe belongs to another user"):
        whole_file(pipe, private=True, owners=FOREIGN).__enter__()
    assert os.read(reading, 100) == b""
    os.close(reading)


def test_devices_of_another_user() -> None:
    """They are written to: only root can make one."""
    with whole_file(Path("/dev/null"), private=True, owners=FOREIGN) as file:
        file.write(b"content")


def test_links_behind_links(tmp_path: Path) -> None:
    """They are followed from where each is, also to where nothing is yet; a circle of them has an end."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").symlink_to("../two")
    (tmp_path / "two").symlink_to("a/new")
    with whole_file(tmp_path / "a" / "one", private=True) as file:
        file.write(b"new")
    assert (tmp_path / "a" / "new").read_bytes() == b"new"
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        whole_file(tmp_path / "circle", private=True).__enter__()


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
