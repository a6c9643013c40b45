"""An error ⇄ the box that answers a command with it. Pure.

A message is cut to a length that a value of AMP can always hold.
"""

from __future__ import annotations

from pyshard.errors import PyshardError, from_code
from pyshard.message_texts import MAX_MESSAGE, of_peer
from pyshard.protocol.argument_types import shown_bytes
from pyshard.protocol.boxes import ERROR, ERROR_CODE, ERROR_DESCRIPTION, UNHANDLED_CODE, Box


class UnknownCommand(Exception):
    """The peer doesn't have the command that it was asked."""


def error_box(error: PyshardError, tag: bytes) -> Box:
    """The box that answers a command with an error."""
    message = str(error)[:MAX_MESSAGE].encode("utf-8", "replace")
    return {ERROR: tag, ERROR_CODE: error.code.encode(), ERROR_DESCRIPTION: message}


def unknown_command_box(name: bytes, tag: bytes, why: str = "") -> Box:
    """The box that answers an unknown command. Its code is AMP's own.

    :param why: what is wrong with the command; empty: that this side doesn't have it.
    """
    message = (why or f"this side has no command {shown_bytes(name)}").encode()
    return {ERROR: tag, ERROR_CODE: UNHANDLED_CODE, ERROR_DESCRIPTION: message}


def error_from_box(box: Box) -> Exception:
    """The exception that an error's box stands for: one of our errors, or `UnknownCommand`."""
    code, message = box[ERROR_CODE], box[ERROR_DESCRIPTION].decode("utf-8", "replace")
    if code == UNHANDLED_CODE:
        return UnknownCommand(of_peer(message))
    return from_code(code.decode("ascii", "replace"), message)
