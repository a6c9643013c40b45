"""How what went wrong crosses the wire: a responder's failure ⇄ an error that its command declares. Pure.

A message is cut to what a value of AMP surely takes, whatever was put into it.
"""

from __future__ import annotations

from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, from_code
from pyshard.protocol.boxes import Box

_MESSAGE = 2000  # characters of an error message that cross the wire


def unreadable(error: Exception) -> str:
    """What an argument's parser had to say, in a sentence."""
    if isinstance(error, PyshardError):
        return str(error)
    return f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"


def declared(error: PyshardError, local: Failure) -> amp.RemoteAmpError:
    """The error for AMP's machinery to answer with; `local` is what it stands for."""
    return amp.RemoteAmpError(error.code.encode(), str(error)[:_MESSAGE], False, local=local)


def error_box(error: PyshardError, tag: bytes) -> Box:
    """The box that answers a command with an error."""
    message = str(error)[:_MESSAGE].encode("utf-8", "replace")
    return {amp.ERROR: tag, amp.ERROR_CODE: error.code.encode(), amp.ERROR_DESCRIPTION: message}


def unknown_box(name: bytes, tag: bytes) -> Box:
    """The box that answers a command that nobody here knows.

    As AMP makes it, but for a long name, whose repr AMP can't send, after which it closes the connection.
    """
    message = b"Unhandled Command: %a" % name[:_MESSAGE]
    return {amp.ERROR: tag, amp.ERROR_CODE: amp.UNHANDLED_ERROR_CODE, amp.ERROR_DESCRIPTION: message}


def error_of(box: Box) -> Exception:
    """The exception for an error's box, as AMP would raise it for a command that declares all of pyshard's errors."""
    code, message = box[amp.ERROR_CODE], box[amp.ERROR_DESCRIPTION].decode("utf-8", "replace")
    if code == amp.UNHANDLED_ERROR_CODE:
        return amp.UnhandledCommand(message)
    return from_code(code.decode("ascii", "replace"), message)
