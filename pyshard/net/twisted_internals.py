"""What pyshard uses of Twisted that Twisted doesn't promise: private names, each with the reason.

Rules:

- No other module uses a private name of Twisted, but for `pyshard.blocking.private_reactor`, which is a reactor itself.
- Each name has a test that fails when Twisted changes it (tests/net/test_twisted_internals.py).
"""

from __future__ import annotations

from twisted.internet.abstract import FileDescriptor
from twisted.protocols import amp


def send_now(transport: FileDescriptor, data: bytes) -> bytes:
    """Hand bytes to the system at once.

    `FileDescriptor.write` has the reactor wait until the socket can be written. That costs two system calls and a turn
    of the reactor, though the socket can nearly always be written. What waits in the transport already must go first;
    only its private buffers tell of it.

    :return: what the system didn't take; it is to be given to `write`.
    """
    if transport.dataBuffer or transport._tempDataBuffer:
        return data
    sent = transport.writeSomeData(data)
    if isinstance(sent, int) and sent >= 0:
        return data[sent:]
    return data  # the connection is lost: the reactor's own attempt fails too, and ends it


def discard_unwritten(transport: FileDescriptor) -> None:
    """Forget what waits in a transport to be written.

    `abortConnection` forgets it in the reactor's next turn. Until then a thousand connections that are ended for the
    memory that they take would still take it.
    """
    transport.dataBuffer, transport._tempDataBuffer, transport._tempDataLen = b"", [], 0


def calls_in_flight(connection: amp.AMP) -> int:
    """How many calls made by AMP's own `callRemote` wait for their answers; AMP has no public count."""
    return len(connection._outstandingRequests or ())  # None once the connection is lost
