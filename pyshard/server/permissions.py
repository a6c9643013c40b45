"""What a peer may ask, by its role. Pure."""

from __future__ import annotations

from pyshard.errors import NotAuthenticated, PermissionDenied, PyshardError
from pyshard.protocol import commands
from pyshard.security.tokens_and_roles import Role

#: What to do about a token that is missing or wrong.
HOW = "give the client a token file: token_file=…, --token-file or the environment variable PYSHARD_TOKEN_FILE"


def forbidden(name: bytes, role: Role | None) -> PyshardError | None:
    """Why a peer may not ask this, if so. What isn't known as harmless is the admin's.

    :param name: the command's.
    :param role: the peer's; None: it is a stranger.
    """
    command = commands.COMMANDS.get(name)
    needed = Role.ADMIN if command is None else command.role
    if needed is None:
        return None
    if role is None:
        return NotAuthenticated(f"this daemon wants a token first; {HOW}")
    if role < needed:
        return PermissionDenied(
            f"{name.decode('ascii', 'replace')} wants a token of role {needed.word}; this client's has role {role.word}"
        )
    return None
