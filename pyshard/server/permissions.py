"""What a peer may ask, by its role. Pure."""

from __future__ import annotations

from pyshard.errors import NotAuthenticated, PermissionDenied, PyshardError
from pyshard.protocol import commands
from pyshard.protocol.argument_types import shown_bytes
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
        return NotAuthenticated(f"this daemon wants a token first (Authenticate); {HOW}")
    if role < needed:
        return PermissionDenied(
            f"{name.decode('ascii', 'replace')} wants a token of role {needed.word}; this client's has role {role.word}"
        )
    return None


def not_answered(name: bytes, kind: str) -> str:
    """Why a daemon doesn't answer a command, for the message.

    :param name: the command's, as the peer has it.
    :param kind: the daemon's.
    """
    command = commands.COMMANDS.get(name)
    if command is None:
        return f"a {kind} has no command {shown_bytes(name)}"
    return f"{name.decode()} is for a {command.answered_by}, and this is a {kind}"
