"""What a daemon takes from twistd's own options."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.application.app import ServerOptions
from twisted.python import usage
from twisted.scripts import _twistd_unix

from pyshard.server.twistd_file_options import TwistdFiles, files_named, twistd_files

HERE = Path.cwd()


def parsed(arguments: list[str]) -> ServerOptions:
    """What twistd makes of its arguments."""
    options: ServerOptions = _twistd_unix.ServerOptions()
    options.parseOptions(arguments)
    return options


@pytest.mark.parametrize(
    ("arguments", "log"),
    [
        ([], HERE / "twistd.log"),
        (["--logfile", "logs/shard.log"], HERE / "logs/shard.log"),
        (["--nodaemon", "--logfile", "/var/log/shard.log"], Path("/var/log/shard.log")),
        (["--nodaemon"], None),
        (["--nodaemon", "--logfile", "-"], None),
        (["--syslog"], None),
        (["--syslog", "--logfile", "shard.log"], None),
        (["--logger", "twisted.logger.jsonFileLogObserver", "--logfile", "shard.log"], None),
    ],
)
def test_log(arguments: list[str], log: Path | None) -> None:
    """The log file is the one to which twistd would log; where it logs elsewhere, there is none."""
    options = parsed(arguments)
    assert files_named(options).log == log
    assert twistd_files(options).log == log


def test_debug() -> None:
    """Under twistd's --debug it stays in front, and logs to no file. (Parsing it changes this process.)"""
    assert files_named({"debug": True}).log is None
    assert files_named({"debug": True, "logfile": "shard.log"}).log == HERE / "shard.log"


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [([], 0o600), (["--umask", "027"], 0o640), (["--umask", "022"], 0o644), (["--umask", "077"], 0o600)],
)
def test_mode_of_the_log(arguments: list[str], mode: int) -> None:
    """A log is its owner's alone, unless twistd's --umask says otherwise."""
    options = parsed(arguments)
    assert files_named(options).log_mode == mode


@pytest.mark.parametrize(
    ("arguments", "pid"),
    [([], HERE / "twistd.pid"), (["--pidfile", "a.pid"], HERE / "a.pid"), (["--pidfile="], None)],
)
def test_pid_file(arguments: list[str], pid: Path | None) -> None:
    """The pid file is twistd's, before twistd itself has made its path absolute."""
    options = parsed(arguments)
    assert files_named(options).pid == pid


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ([], ""),
        (["--nodaemon"], ""),
        (["--syslog"], "--syslog"),
        (["--logger", "twisted.logger.jsonFileLogObserver"], "--logger"),
    ],
)
def test_elsewhere(arguments: list[str], option: str) -> None:
    """Which option has twistd log neither to a file nor to standard output."""
    assert files_named(parsed(arguments)).elsewhere == option


def test_no_twistd() -> None:
    """A plugin that something else runs has no files."""
    assert twistd_files(None) == twistd_files(usage.Options()) == TwistdFiles(None, 0o600, None)
