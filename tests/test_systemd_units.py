"""The units in etc/systemd/ can be believed: systemd knows each setting, and the plugins take the commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from configparser import RawConfigParser
from pathlib import Path

import pytest
from blocks import CHECKOUT
from test_containers import options_of

from pyshard.settings import settings

UNITS = CHECKOUT / "etc" / "systemd"
TWISTD = "/opt/pyshard/bin/twistd"
NAMES = {"pyshard-shard@.service": "pyshard-shard", "pyshard-bootstrap.service": "pyshard-bootstrap"}


def settings_of(name: str) -> dict[str, str]:
    """What a unit says of its service."""
    parser = RawConfigParser(strict=True)  # no setting stands twice
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's own page has it
    parser.read_string((UNITS / name).read_text(encoding="utf-8"))
    assert parser["Unit"]["StartLimitIntervalSec"] == "0"
    return dict(parser["Service"])


def test_all_are_here() -> None:
    """No unit is forgotten here."""
    assert {path.name for path in UNITS.iterdir()} == NAMES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_systemd_takes_it(name: str, tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing to say about it."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze here (Debian's package systemd)")
    unit = tmp_path / name.replace("@", "@shard0")
    twistd = Path(sysconfig.get_path("scripts")) / "twistd"
    unit.write_text((UNITS / name).read_text(encoding="utf-8").replace(TWISTD, str(twistd)))
    done = subprocess.run(
        [program, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if name.partition(".")[0][:13] in line]
    assert (said, done.returncode) == ([], 0), done.stderr


@pytest.mark.parametrize(("name", "plugin"), NAMES.items())
def test_command(name: str, plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """twistd and the plugin take the command; what the daemon writes is where systemd lets it, and for it alone."""
    service = settings_of(name)
    words = service["ExecStart"].split()
    assert words[0] == TWISTD
    assert words[-1] == "$OPTIONS"  # split into words by systemd
    found, options = options_of(["twistd", *words[1:-1]], monkeypatch)
    assert found == plugin
    assert options["token-file"] == "%d/tokens"
    assert service["LoadCredential"].partition(":")[0] == "tokens"
    place = options["data-dir"] if plugin == "pyshard-shard" else options["state"]
    assert place.startswith(f"%S/{service['StateDirectory']}/")
    assert (service["StateDirectoryMode"], service["UMask"]) == ("0700", "0077")


@pytest.mark.parametrize("name", NAMES)
def test_what_daemons_count_on(name: str) -> None:
    """systemd is told when it is ready, gives it time to drain, starts it again, and lets it have its files."""
    service = settings_of(name)
    assert (service["Type"], service["NotifyAccess"], service["Restart"]) == ("notify", "main", "on-failure")
    assert int(service["TimeoutStopSec"]) == 20
    assert int(service["WatchdogSec"]) >= 10
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert int(service["LimitNOFILE"]) >= settings.MAX_CONNECTIONS + settings.OTHER_FILES
    assert service["User"] == "pyshard"


def test_examples_in_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options that a comment suggests are some."""
    for name, plugin in NAMES.items():
        (text,) = re.findall(r"^#     OPTIONS=(.*)$", (UNITS / name).read_text(encoding="utf-8"), re.MULTILINE)
        options_of(["twistd", "--nodaemon", "--pidfile=", plugin, *text.split()], monkeypatch)
