"""A socket as systemd has it for daemons that tell how they fare."""

from __future__ import annotations

import socket
from pathlib import Path


class NotifySocket:
    """A real one, of datagrams.

    :param place: where it is; a text that begins with a null byte is a name that no file has.
    """

    def __init__(self, place: Path | str) -> None:
        self.name = str(place)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.name)

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        """The messages that have come since the last call."""
        self._socket.setblocking(False)
        found = []
        while True:
            try:
                found.append(self._socket.recv(10_000).decode())
            except BlockingIOError:
                return found

    def wait(self, seconds: float) -> str:
        """The next message.

        :raises TimeoutError: none came within so many seconds.
        """
        self._socket.settimeout(seconds)
        return self._socket.recv(10_000).decode()
