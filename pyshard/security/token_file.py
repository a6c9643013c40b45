"""A token file on the disk: read with care, and read again when it has changed.

Rules:

- a file that others can get at is refused (`pyshard.security.secret_file`);
- a changed file that can't be used leaves the tokens valid that were read before, with a line in the log.

SECURITY.md says how to exchange tokens.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pyshard.errors import ConfigError, shown_value
from pyshard.security.file_change import ReloadedValue, file_signature
from pyshard.security.secret_file import read_secret
from pyshard.security.tokens_and_roles import Role, Tokens, parse
from pyshard.settings import settings

#: The environment variable that names a client's token file.
VARIABLE = "PYSHARD_TOKEN_FILE"


def load(path: Path) -> Tokens:
    """The tokens of a file.

    :raises ConfigError: the file can't be read, others than its owner can get at it, or it is no token file. The
        message is one line.
    """
    text = read_secret(path, "token file", settings.MAX_TOKEN_FILE)
    try:
        return parse(text.decode("utf-8"), f"token file {path}")
    except UnicodeDecodeError:
        raise ConfigError(f"token file {path}: found bytes that are no text, expected lines of text") from None


class TokenFile:
    """The tokens of a file that may change while it is used.

    :param path: the file.
    :param read: gives the tokens in it.
    :raises ConfigError: as `read`.
    """

    def __init__(self, path: Path, read: Callable[[Path], Tokens] = load) -> None:
        path = path.absolute()  # since twistd changes its directory
        self._tokens = ReloadedValue(
            lambda: read(path),
            lambda: file_signature(path),
            lambda tokens: f"token file {path}: read again, {len(tokens.tokens)} tokens",
            "the tokens that it had before stay valid",
        )

    def current(self) -> Tokens:
        """The tokens that are valid now. It looks at the file each time, which costs little once a connection."""
        return self._tokens.current()

    def reload(self) -> None:
        """Read the file again, whether or not it has changed."""
        self._tokens.reload()

    def secret(self) -> bytes:
        """The secret that a client presents: the first token's."""
        return self.current().tokens[0].secret

    def admin_secret(self) -> bytes:
        """The secret that daemons present to shards: that of the first token with role admin."""
        token = self.current().first(Role.ADMIN)
        return self.secret() if token is None else token.secret  # without one, the shard says what is missing


def daemon_token_file(path: str) -> TokenFile:
    """The token file of a daemon.

    :raises ConfigError: as `load`; or it has no token with role admin, which the bootstrap needs to configure shards.
    """
    return TokenFile(Path(path), _load_daemons)


def _load_daemons(path: Path) -> Tokens:
    tokens = load(path)
    if tokens.first(Role.ADMIN) is None:
        raise ConfigError(
            f"token file {path}: found no token of role admin, with which the bootstrap configures shards"
        )
    return tokens


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
