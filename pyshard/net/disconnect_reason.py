"""Why a connection could not be made or was lost, in one line for people. Pure."""

from __future__ import annotations

from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, plain
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.security.tls import handshake_errors


def reason_of(failure: Failure) -> str:
    """The reason in one line, without class names where they say nothing."""
    return plain(_reason(failure.value))


def _reason(error: BaseException | None) -> str:
    if isinstance(error, (PyshardError, DNSLookupError)):
        return str(error)
    if isinstance(error, ConnectError):
        return str(error.args[0]).lower() if error.args and error.args[0] else str(error)
    if isinstance(error, ConnectionClosed):
        return "the connection was closed"
    if isinstance(error, handshake_errors.ERRORS):
        return handshake_errors.in_words(error)
    if isinstance(error, UnknownCommand):
        return "the peer is no pyshard daemon"
    return str(error) or type(error).__name__
