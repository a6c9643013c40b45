"""Reading a file that holds a secret, a token or a private key: who else can get at it is checked first.

Rules:

- a file that others than its owner can get at is refused, as ssh does with keys;
- but root may let a group read a file of its own. So systems keep the keys of services, and so container platforms and
  systemd hand secrets to a process that doesn't run as root;
- it is checked on the open file, so that nobody exchanges it in between.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pyshard.errors import ConfigError
from pyshard.model.regular_file import open_regular

_ROOT = 0


def read_secret(path: Path, what: str, most: int) -> bytes:
    """What a file with a secret holds.

    :param what: what messages call it, such as ``token file``.
    :param most: bytes that it may have.
    :raises ConfigError: it can't be read, is something else than a file or is longer, or others can get at it. The
        message is one line.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            why = exposed(path, stat.S_IMODE(status.st_mode), status.st_uid)
            if why is not None:
                raise ConfigError(f"{what} {path}: {why}")
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"{what} {path}: it can't be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > most:
        raise ConfigError(f"{what} {path}: found more than {most:,} bytes, expected a few lines")
    return data


def exposed(path: Path, mode: int, owner: int) -> str | None:
    """Why a secret's file isn't kept well, and what to do; None: it is.

    :param mode: its permissions.
    :param owner: the id of the user who owns it.
    """
    if not mode & (0o037 if owner == _ROOT else 0o077):
        return None
    also = "; 0440 would do, too, since root owns it" if owner == _ROOT else ""
    return (
        f"found mode {mode:04o}, with which others than its owner can get at it; expected 0600: chmod 600 {path}{also}"
    )
