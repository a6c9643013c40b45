"""Who may do what: roles, the tokens that give them, and the text of a token file. Pure.

Rules:

- a secret stands in no message and in no `repr`;
- a secret that is presented is compared with every token, in a time that doesn't tell which of its bytes were right.
"""

from __future__ import annotations

import hmac
import re
from enum import IntEnum

import attrs

from pyshard.errors import ConfigError
from pyshard.settings import settings

_SECRET = re.compile(r"[!-~]+")  # printable ASCII


class Role(IntEnum):
    """What a peer may do. Each role may do all that the roles before it may."""

    READ = 1
    BACKUP = 2
    WRITE = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """The role as it stands in files, messages and on the wire."""
        return self.name.lower()


#: Every role by its word.
ROLES = {role.word: role for role in Role}


@attrs.frozen
class Token:
    """A secret, and the role of a peer that has it.

    :param secret: 16 to 256 printable ASCII characters without spaces.
    """

    role: Role
    secret: bytes = attrs.field(repr=False)


@attrs.frozen
class Tokens:
    """The tokens that are valid at one moment. There may be several of one role, so that tokens can be exchanged.

    :param tokens: in the order of their file; at least one.
    """

    tokens: tuple[Token, ...]

    def role_of(self, secret: bytes) -> Role | None:
        """The role of a peer that presents a secret; None if no token has this secret."""
        matching = [token.role for token in self.tokens if hmac.compare_digest(token.secret, secret)]
        return max(matching, default=None)

    def first(self, role: Role | None = None) -> Token | None:
        """The first token, or the first one of exactly this role; None if there is none."""
        return next((token for token in self.tokens if role is None or token.role is role), None)


def parse(text: str, path: object = "token file") -> Tokens:
    """The tokens of a token file's text.

    Each line is a role and a secret. Empty lines, lines that begin with ``#``, and a byte order mark are skipped.

    :param path: what messages call the file.
    :raises ConfigError: it names file and line, and says what was expected. It doesn't show what was found.
    """
    tokens: list[Token] = []
    lines: dict[bytes, int] = {}  # secret → number of its line
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        token = _parse_line(words, f"{path}, line {number}")
        if token.secret in lines:
            raise ConfigError(f"{path}, line {number}: found the secret of line {lines[token.secret]} again")
        lines[token.secret] = number
        tokens.append(token)
    if not tokens:
        raise ConfigError(f"{path}: found no token, expected lines such as 'write SECRET'; 'pyshard token' makes one")
    return Tokens(tuple(tokens))


def _parse_line(words: list[str], where: str) -> Token:
    if len(words) != 2:
        raise ConfigError(f"{where}: found {_count(words)}, expected a role and a secret; 'pyshard token' makes a line")
    role, secret = ROLES.get(words[0]), words[1]
    if role is None:  # not shown, since it may be a secret in the wrong place
        raise ConfigError(f"{where}: expected a role at its beginning, one of {', '.join(ROLES)}")
    shortest, longest = settings.MIN_SECRET, settings.MAX_SECRET
    if not shortest <= len(secret) <= longest:
        raise ConfigError(f"{where}: found a secret of {len(secret)} characters, expected {shortest} to {longest}")
    if not _SECRET.fullmatch(secret):
        raise ConfigError(f"{where}: found other characters in the secret than printable ASCII ones")
    return Token(role, secret.encode("ascii"))


def _count(words: list[str]) -> str:
    return "one word" if len(words) == 1 else f"{len(words)} words"
