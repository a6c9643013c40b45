"""An error ⇄ the box that answers a command with it. Pure.

A message is cut to a length that a value of AMP can always hold.
"""

from __future__ import annotations

from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, from_code
from pyshard.protocol.argument_types import shown_bytes
from pyshard.protocol.boxes import Box
from pyshard.protocol.error_texts import MAX_MESSAGE


def parsing_error_text(error: Exception) -> str:
    """What an argument's parser said, as a message."""
    if isinstance(error, PyshardError):
        return str(error)
    return f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"


def to_remote_error(error: PyshardError, local: Failure) -> amp.RemoteAmpError:
    """The error that AMP's machinery answers with.

    :param local: the failure that it stands for.
    """
    return amp.RemoteAmpError(error.code.encode(), str(error)[:MAX_MESSAGE], False, local=local)


def error_box(error: PyshardError, tag: bytes) -> Box:
    """The box that answers a command with an error."""
    message = str(error)[:MAX_MESSAGE].encode("utf-8", "replace")
    return {amp.ERROR: tag, amp.ERROR_CODE: error.code.encode(), amp.ERROR_DESCRIPTION: message}


def unknown_command_box(name: bytes, tag: bytes, why: str = "") -> Box:
    """The box that answers an unknown command. Its code is AMP's own.

    :param why: what is wrong with the command; empty: that this side doesn't have it.
    """
    message = (why or f"this side has no command {shown_bytes(name)}").encode()
    return {amp.ERROR: tag, amp.ERROR_CODE: amp.UNHANDLED_ERROR_CODE, amp.ERROR_DESCRIPTION: message}


def error_from_box(box: Box) -> Exception:
    """The exception that an error's box stands for, as AMP raises it for a command that declares all our errors."""
    code, message = box[amp.ERROR_CODE], box[amp.ERROR_DESCRIPTION].decode("utf-8", "replace")
    if code == amp.UNHANDLED_ERROR_CODE:
        return amp.UnhandledCommand(message)
    return from_code(code.decode("ascii", "replace"), message)
