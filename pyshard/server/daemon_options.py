"""The options that both daemons have about tokens and connections: their texts, and the values that they give.

Everything here runs before twistd daemonizes, so that a mistake reaches the terminal and the exit code.
"""

from __future__ import annotations

import attrs
from twisted.logger import Logger

from pyshard.errors import ConfigError
from pyshard.security.token_file import TokenFile, daemon_token_file
from pyshard.server.connection_admission import ConnectionLimits
from pyshard.settings import settings

_log = Logger()


def token_file(given: str | None, insecure: bool) -> TokenFile | None:
    """The token file that an option gives.

    :raises ConfigError: it can't be used, or --insecure contradicts it.
    """
    if given is None:
        return None
    if insecure:
        raise ConfigError("--insecure: found it with --token-file, expected one of the two")
    return daemon_token_file(given)


#: The options of both daemons about tokens.
TOKEN_FILE_OPTION: list[object] = [
    "token-file",
    "t",
    None,
    "File with the tokens that peers must present, the same for all daemons of a cluster; see the documentation, "
    '"Security" '
    "[default: whoever can connect may do everything].",
]
INSECURE_FLAG: list[object] = ["insecure", None, "Listen without a token file where others can connect."]

#: The options of both daemons about connections.
CONNECTION_OPTIONS: list[list[object]] = [
    ["max-connections", None, settings.MAX_CONNECTIONS, "Connections that are served at the same time."],
    [
        "max-connections-per-address",
        None,
        settings.MAX_CONNECTIONS_PER_ADDRESS,
        "Connections from one address (of IPv6: from one network of 64 bits) at the same time.",
    ],
]


def connection_limits(total: object, address: object, guarded: bool) -> ConnectionLimits:
    """The limits that the options give.

    :param total: what --max-connections gives.
    :param address: what --max-connections-per-address gives.
    :param guarded: whether there are tokens; without, nobody is a stranger.
    :raises ConfigError: an option is no such number.
    """
    limits = ConnectionLimits(
        _connections(total, "--max-connections"), _connections(address, "--max-connections-per-address")
    )
    if not guarded:
        limits = attrs.evolve(limits, strangers=0)
    return limits


def _connections(given: object, option: str) -> int:
    text = str(given)
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text)):
        raise ConfigError(f"{option}: found {text!r}, expected a number from 1 to 9999999")
    return int(text)
