"""`shell`: lines are the subcommands themselves, over one connection; history and completion."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from in_process_command import Commands, Ended

from pyshard.cli.common_options import Target
from pyshard.cli.shared_clients import SharedClients
from pyshard.cli.shell import command
from pyshard.cli.shell.command import completion, known_names, run_line
from pyshard.cli.shell.history_file import HistoryFile, history_path
from pyshard.cli.shell.known_names import KnownNames
from pyshard.cli.shell.line_editing import LineEditor


def lines(*given: str) -> str:
    """Lines of standard input."""
    return "".join(f"{line}\n" for line in given)


def test_lines(pyshard: Commands) -> None:
    """Each line does what the subcommand does, and all of them go over one connection."""
    ended = pyshard(
        "shell",
        text=lines(
            "# how it begins",
            "write test 'hello world'",
            "pyshard read test",
            "",
            "incr visits",
            "keys",
            "exit",
            "read test",
        ),
    )
    assert (ended.code, ended.error) == (0, "")
    assert ended.out.startswith('60\n"hello world"\n1\n')
    assert ended.out.count('"hello world"') == 1  # `exit` ends it
    assert len(pyshard.targets) == 1


def test_errors(pyshard: Commands) -> None:
    """An error is one line, and the shell goes on; the exit code is the first one's."""
    ended = pyshard(
        "shell", text=lines("read none", "reed test", "write 'x", "write a -", "shell", "has none", "write k v")
    )
    assert ended.code == 1
    assert ended.out == "false\n50\n"
    missing, unknown, quote, document, again = ended.error.splitlines()
    assert missing == 'pyshard: there is no key "none"'
    assert unknown.startswith("pyshard: No such command 'reed'")
    assert quote == "pyshard: no closing quotation; a word with blanks or quotes stands in single quotes"
    assert "standard input has the lines of this shell; use a file" in document
    assert again == "pyshard: this is a shell already; 'shell' runs outside of it; see 'pyshard shell --help'"


def test_stop(pyshard: Commands) -> None:
    """With --stop it ends at the first line that fails."""
    ended = pyshard("shell", "--stop", text=lines("write a 1", "read none", "write b 2"))
    assert (ended.code, ended.out) == (1, "28\n")
    assert pyshard("has", "b").code == 1


def test_what_is_no_text(pyshard: Commands) -> None:
    """A line that is no UTF-8 is one error; a mark of order is none."""
    ended = pyshard("shell", text=b"\xef\xbb\xbfwrite a 1\nread \xff\nread a\n")
    assert ended == Ended(2, "28\n1\n", "pyshard: found a line that is no UTF-8\n")


def test_options(pyshard: Commands) -> None:
    """The shell's options count where a line has none; a line's own come first."""
    pyshard("index", "create", "pages")
    ended = pyshard(
        "shell", "--index", "pages", text=lines("write k in-pages", "--index pages read k", "count", "stat")
    )
    assert ended.code == 0
    assert "in-pages" in ended.out
    assert pyshard("read", "--index", "pages", "k").out == '"in-pages"\n'
    assert pyshard("read", "k").code == 1
    ended = pyshard("--deadline", "3", "shell", text=lines("has k", "has --deadline 4 k", "has k", "stat"))
    assert [target.deadline for target in pyshard.targets[-2:]] == [3, 4]


def test_environment(pyshard: Commands) -> None:
    """What the shell was given counts before the environment."""
    pyshard("shell", "--bootstrap", "given:1", text=lines("has k"), env={"PYSHARD_BOOTSTRAP": "environment:1"})
    assert pyshard.targets[-1].bootstrap == "given:1"
    pyshard("shell", text=lines("has k"), env={"PYSHARD_BOOTSTRAP": "environment:1"})
    assert pyshard.targets[-1].bootstrap == "environment:1"


def test_clients_are_bounded(pyshard: Commands) -> None:
    """However many deadlines lines have, few connections are kept, and none is left."""
    shared = SharedClients({})
    clients = [shared.client(Target(None, None, float(number))) for number in range(1, 8)]
    assert shared.client(Target(None, "pages", 7.0)) is clients[-1]
    assert [client._closed for client in clients] == [True] * 3 + [False] * 4
    shared.close()
    assert all(client._closed for client in clients)


def test_interrupt(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the command that runs, and the shell goes on."""
    shared = SharedClients({})

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pyshard.blocking.record_calls.RecordCalls.has", interrupted)
        assert run_line(shared, "has k") == 130
    assert run_line(shared, "has k") == 1
    shared.close()


def test_process_of_its_own(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs a reactor runs in a process, with the options of the shell that it has."""
    ran: list[list[str]] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        assert words[:4] == [sys.executable, "-P", "-m", "pyshard.cli"]  # nothing is imported from this directory
        ran.append(words[4:])
        return subprocess.CompletedProcess(words, 5)

    monkeypatch.setattr(subprocess, "run", run)
    ended = pyshard("--bootstrap", "h:1", "shell", "--index", "pages", text=lines("jobs cancel 7", "backup --json d"))
    assert ended.code == 5
    assert ran == [["--bootstrap=h:1", "jobs", "cancel", "7"], ["--bootstrap=h:1", "backup", "--json", "d"]]


@pytest.fixture
def shared(pyshard: Commands) -> SharedClients:
    """A shell's, on a cluster with some keys."""
    pyshard("load", "-", text="apple|1\npear|2\na b|3\n")
    pyshard("index", "create", "pages")
    pyshard("write", "--index", "pages", "page", "1")
    made = SharedClients({"index": None, "deadline": None})
    made.names = known_names(Target(None, None, 5.0))
    return made


@pytest.mark.parametrize(
    ("before", "start", "words"),
    [
        ([], "re", ["read", "replace", "remove", "replica", "restore"]),
        ([], "ex", ["exit"]),
        (["read"], "ap", ["apple"]),
        (["read"], "", ["apple", "pear", "a b"]),
        (["read", "--index", "pages"], "", ["page"]),
        (["read", "--index"], "pa", ["pages"]),
        (["index", "drop"], "", ["pages"]),
        (["write"], "--if", ["--if-absent", "--if-version"]),
        (["help"], "rea", ["read"]),
        (["nonsense"], "x", []),
    ],
)
def test_completion(shared: SharedClients, before: list[str], start: str, words: list[str]) -> None:
    """Commands, options, indexes, and keys of the index that the line names."""
    assert sorted(completion(shared)(before, start)) == sorted(words)


def test_completion_of_files(shared: SharedClients, tmp_path: Path) -> None:
    """Where a file is wanted, files are offered; a folder with its slash."""
    (tmp_path / "documents.txt").touch()
    (tmp_path / "documents").mkdir()
    found = completion(shared)(["load"], f"{tmp_path}/doc")
    assert found == [f"{tmp_path}/documents/", f"{tmp_path}/documents.txt"]
    assert completion(shared)(["load"], "/no/such/folder/x") == []


def test_completion_without_a_cluster(pyshard: Commands, shared: SharedClients) -> None:
    """A cluster that is away gives no keys, and no error."""
    pyshard.cluster.kill_shard("shard0")
    pyshard.cluster.kill_shard("shard1")
    assert completion(shared)(["read"], "a") == []


def test_used_keys_are_completed(pyshard: Commands) -> None:
    """A key that a line has used is known from then on, in its index."""
    pyshard("index", "create", "pages")
    shared = SharedClients({"index": None}, KnownNames(lambda _: [], list, lambda: 0.0))
    run_line(shared, "has banana")
    run_line(shared, "has --index pages bread")
    assert completion(shared)(["read"], "b") == ["banana"]
    assert completion(shared)(["read", "--index", "pages"], "b") == ["bread"]
    shared.close()


class FakeReadline:
    """Stands for the module `readline`."""

    def __init__(self) -> None:
        self.line = ""
        self.lines: list[str] = []
        self.length = -1

    def set_completer(self, function: object) -> None:
        """As there."""

    def set_completer_delims(self, string: str) -> None:
        """As there."""

    def set_auto_history(self, enabled: bool) -> None:
        """As there."""

    def parse_and_bind(self, string: str) -> None:
        """As there."""

    def add_history(self, string: str) -> None:
        """As there."""
        self.lines.append(string)

    def get_line_buffer(self) -> str:
        """As there."""
        return self.line

    def get_begidx(self) -> int:
        """As there."""
        return self.line.rfind(" ") + 1

    def set_history_length(self, length: int) -> None:
        """As there."""
        self.length = length

    def read_history_file(self, filename: str) -> None:
        """As there."""
        self.lines = Path(filename).read_text().splitlines()

    def append_history_file(self, nelements: int, filename: str) -> None:
        """As there."""
        with Path(filename).open("a") as file:
            file.writelines(f"{line}\n" for line in self.lines[-nelements:])


def offered(editor: LineEditor, readline: FakeReadline, line: str) -> list[str]:
    """What Tab offers at the end of a line."""
    readline.line = line
    start = line[readline.get_begidx() :]
    found: list[str] = []
    while (word := editor.offer(start, len(found))) is not None:
        found.append(word)
    return found


def test_words_are_quoted_when_completed(shared: SharedClients) -> None:
    """A key with a blank is offered in quotes; the only choice ends with a blank."""
    readline = FakeReadline()
    editor = LineEditor(readline, completion(shared), None)
    assert offered(editor, readline, "read app") == ["apple "]
    assert offered(editor, readline, "read a") == ["apple", "'a b'"] or offered(editor, readline, "read a") == [
        "'a b'",
        "apple",
    ]
    assert offered(editor, readline, "read 'a b") == []  # within quotes there is none


def test_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are in the file at once, which nobody else can read, and there again in the next shell."""
    path = tmp_path / "state" / "pyshard" / "history"
    typed = iter(["read test", "   ", "keys"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    old = os.umask(0)
    try:
        editor = LineEditor(FakeReadline(), lambda _, __: [], path)
    finally:
        os.umask(old)
    for _ in range(3):
        editor.read("> ")
    assert path.read_text() == "read test\nkeys\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    again = FakeReadline()
    HistoryFile(again, path)
    assert again.lines == ["read test", "keys"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert again.length == 1000


def test_history_that_can_not_be_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said in one line, once, and lines are read all the same. A link isn't followed."""
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "history").symlink_to(target)
    readline = FakeReadline()
    history = HistoryFile(readline, tmp_path / "history")
    readline.lines.append("read test")
    history.add()
    assert target.read_text() == "precious"
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--no-history" in error


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_STATE_HOME": "/state"}, Path("/state/pyshard/history")),
        ({"XDG_STATE_HOME": "relative"}, Path("~/.local/state/pyshard/history").expanduser()),
        ({}, Path("~/.local/state/pyshard/history").expanduser()),
    ],
)
def test_history_path(environment: dict[str, str], path: Path) -> None:
    """As the XDG base directories have it: a relative path doesn't count."""
    assert history_path(environment) == path


def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A user without a home directory has no history, which is said in one line, and a shell all the same."""

    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert history_path({}) is None
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "XDG_STATE_HOME" in error
    assert history_path({"XDG_STATE_HOME": "/state"}) == Path("/state/pyshard/history")


def test_no_readline(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without readline reads lines all the same."""
    monkeypatch.setattr("builtins.input", lambda _: "keys")
    assert LineEditor(None, lambda _, __: [], Path("/no/history")).read("> ") == "keys"
    assert "no readline" in capsys.readouterr().err


def test_closed_input(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input that isn't there is said."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(Exception, match="standard input is closed"):
        command.shell.main(["--no-history"], standalone_mode=False)
    assert sys.stdin is None
