"""A token file on the disk: read with care, and read again when it has changed.

Rules:

- a file that others than its owner can get at is refused, as ssh does with keys;
- a changed file that can't be used leaves the tokens valid that were read before, with a line in the log.

SECURITY.md says how to exchange tokens.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.logger import Logger

from pyshard.errors import ConfigError, shown_value
from pyshard.security.file_change import file_signature
from pyshard.security.tokens_and_roles import Role, Tokens, parse
from pyshard.settings import settings

#: The environment variable that names a client's token file.
VARIABLE = "PYSHARD_TOKEN_FILE"


def load(path: Path) -> Tokens:
    """The tokens of a file.

    :raises ConfigError: the file can't be read, others than its owner can get at it, or it is no token file. The
        message is one line.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            _check(path, status)
            text = file.read(settings.MAX_TOKEN_FILE + 1)
    except OSError as error:
        raise ConfigError(f"token file {path}: it can't be read: {(error.strerror or str(error)).lower()}") from None
    if len(text) > settings.MAX_TOKEN_FILE:
        raise ConfigError(f"token file {path}: found more than {settings.MAX_TOKEN_FILE:,} bytes, expected a few lines")
    try:
        return parse(text.decode("utf-8"), f"token file {path}")
    except UnicodeDecodeError:
        raise ConfigError(f"token file {path}: found bytes that are no text, expected lines of text") from None


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"token file {path}: found something else than a file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"token file {path}: found mode {mode:04o}, with which others than its owner can get at it; "
            f"expected 0600: chmod 600 {path}"
        )


class TokenFile:
    """The tokens of a file that may change while it is used.

    :param path: the file.
    :raises ConfigError: as `load`.
    """

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # since twistd changes its directory
        self._signature = file_signature(self._path)
        self._tokens = load(self._path)

    def current(self) -> Tokens:
        """The tokens that are valid now. It looks at the file each time, which costs little once a connection."""
        signature = file_signature(self._path)
        if signature != self._signature:
            self._signature = signature
            self._reload()
        return self._tokens

    def secret(self) -> bytes:
        """The secret that a client presents: the first token's."""
        return self.current().tokens[0].secret

    def admin_secret(self) -> bytes:
        """The secret that the bootstrap presents to shards: that of the first token with role admin."""
        token = self.current().first(Role.ADMIN)
        return self.secret() if token is None else token.secret  # without one, the shard says what is missing

    def _reload(self) -> None:
        try:
            self._tokens = load(self._path)
        except ConfigError as error:
            self._log.error("{error}; the tokens that it had before stay valid", error=error)
        else:
            self._log.info(
                "token file {path}: read again, {count} tokens", path=self._path, count=len(self._tokens.tokens)
            )


def daemon_token_file(path: str) -> TokenFile:
    """The token file of a daemon.

    :raises ConfigError: as `load`; or it has no token with role admin, which the bootstrap needs to configure shards.
    """
    file = TokenFile(Path(path))
    if file.current().first(Role.ADMIN) is None:
        raise ConfigError(
            f"token file {path}: found no token of role admin, with which the bootstrap configures shards"
        )
    return file


def client_token_file(path: Path | str | None) -> TokenFile | None:
    """The token file of a client: the one that it was given, else the one that the environment names, else none.

    :param path: None if it was given nothing; empty if it is to use no token.
    :raises ConfigError: as `load`; or it is no path.
    """
    chosen = os.environ.get(VARIABLE) if path is None else path
    if not chosen:
        return None
    check_token_path(chosen)
    try:
        return TokenFile(Path(chosen).expanduser())
    except (RuntimeError, ValueError) as error:  # a home that isn't known, or a zero in the name
        raise ConfigError(f"token file {shown_value(str(chosen))}: it can't be found: {error}") from None


def check_token_path(path: object) -> None:
    """Refuse what is no path of a token file.

    :raises ConfigError: it is no str or Path, and not None either.
    """
    if path is not None and not isinstance(path, str | Path):
        raise ConfigError(f"token file: found {shown_value(path)}, expected a path as a str or Path, or '' for none")
