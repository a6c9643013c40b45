"""The server of `echo`: a script that needs only Twisted. Its argument is the port."""

from __future__ import annotations

import sys

from twisted.internet.protocol import ServerFactory
from twisted.protocols import amp


class Echo(amp.Command):
    """Sends its argument back."""

    arguments = [(b"record", amp.String())]
    response = [(b"record", amp.String())]


class Server(amp.AMP):
    """One connection."""

    @Echo.responder
    def echo(self, record: bytes) -> dict[str, bytes]:
        """Send it back."""
        return {"record": record}


def main(port: int) -> None:
    """Serve until the process is ended."""
    from twisted.internet import reactor

    factory = ServerFactory()
    factory.protocol = Server
    reactor.listenTCP(port, factory, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
