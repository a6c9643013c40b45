"""A file that a subcommand writes: whole or as it was, also when Ctrl-C ends the subcommand in the middle.

Rules:

- it is written beside, under a hidden name that nobody else has, and renamed at the end; what fails or is interrupted
  leaves nothing behind, and no file of the user's is written to or removed;
- one that was there keeps its mode; a new one is its owner's alone where documents are in it;
- a link stays a link, and what is no file, such as /dev/null or a pipe, is written to as it is.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copymode
from typing import IO

from pyshard.cli.signals import interrupt_says
from pyshard.security.private_files import private_descriptor

_PLAIN = 0o666  # of which the umask takes some
_TOKEN = 4  # random bytes in the name of the file beside


@contextmanager
def whole_file(path: Path, private: bool) -> Iterator[IO[bytes]]:
    """A file to be written, in place of what is at a path at the end of the block.

    :param private: whether a new file is its owner's alone.
    :raises OSError: it can't be written; what was there stands.
    """
    if path.exists() and not path.is_file():  # before links are followed: that of a pipe in /proc leads nowhere
        with path.open("wb") as device:
            yield device
        return
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN)}.new")

    def clean() -> str:
        beside.unlink(missing_ok=True)
        return f"interrupted; {path} is as it was"

    with interrupt_says(clean):
        descriptor = private_descriptor(beside, os.O_WRONLY | os.O_EXCL)  # what is there already, isn't removed below
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            _set_mode(path, beside, private)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _set_mode(path: Path, beside: Path, private: bool) -> None:
    if path.exists():
        copymode(path, beside)
    elif not private:
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(_PLAIN & ~umask)
