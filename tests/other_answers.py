"""Daemons that answer a command in another way, while a test runs."""

from __future__ import annotations

import pytest

from pyshard.net.command_connection import BoundedAMP, Responder


def answer_with(patch: pytest.MonkeyPatch, protocol: type[BoundedAMP], command: bytes, function: Responder) -> None:
    """Have a class of connections answer a command by another function, which is given the connection."""
    if command in protocol._direct:
        patch.setitem(protocol._direct, command, (function, protocol._direct[command][1]))
    else:
        patch.setitem(protocol._responders, command, (protocol._responders[command][0], function))
