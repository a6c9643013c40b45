"""Connections of pyOpenSSL, whose peers may send little of TLS's own talk beside data, and short handshakes.

`pyshard.security.tls.bounded_ssl_object` is the same for the module ssl.
"""

from __future__ import annotations

from OpenSSL import SSL

from pyshard.security.tls.message_allowance import TOO_LONG, TOO_MANY, too_many_messages, too_many_records
from pyshard.settings import settings


class TlsConnection(SSL.Connection):
    """OpenSSL's connection, which gives what has come in as few pieces as may be.

    OpenSSL gives the bytes of one TLS record at a time, and Twisted hands each such piece to the protocol. A peer that
    puts every byte into a record of its own would have the daemon look for a box thousands of times for each read.

    OpenSSL is given no more of a handshake than `HANDSHAKE_BYTES`: it would take 100 kB of certificates, and look at
    all of them. What came beyond is kept until the handshake is complete. It is data, or the handshake fails.

    :ivar refusal: why the peer's certificate was refused, if it was.
    :ivar received: whether anything came from the peer.
    """

    refusal: str | None = None
    received = False
    _messages = _data = 0  # how many messages of TLS itself came, and how many bytes of data
    _ended = False  # whether they were too many
    _failure: SSL.Error | None = None  # what OpenSSL said behind the bytes that were given last
    _records = 0  # how many pieces of data came
    _complete = False  # the handshake
    _handshake_bytes = 0  # bytes that OpenSSL was given for it
    _beyond = b""  # what came beyond them

    def bio_write(self, buf: bytes | bytearray | memoryview) -> int:
        """Take what came from the peer.

        :return: how many bytes were taken.
        """
        self.received = True
        if self._complete:
            return super().bio_write(buf)
        room = settings.HANDSHAKE_BYTES - self._handshake_bytes
        if self._beyond or not room:
            self._beyond += buf
            return len(buf)
        taken = super().bio_write(buf[:room])
        self._handshake_bytes += taken
        self._beyond = bytes(buf[taken:])
        return len(buf)

    def do_handshake(self) -> None:
        """Go on with the handshake.

        :raises SSL.Error: as OpenSSL does, or the peer has sent more than a handshake needs.
        """
        try:
            super().do_handshake()
        except SSL.WantReadError:
            if self._beyond:
                raise SSL.Error([("", "", TOO_LONG)]) from None
            raise
        self._complete = True
        beyond, self._beyond = memoryview(self._beyond), b""
        while beyond:
            beyond = beyond[super().bio_write(bytes(beyond)) :]

    def message_came(self) -> None:
        """Count a message of TLS itself; behind one too many nothing more is read."""
        self._messages += 1
        if too_many_messages(self._messages, self._data):
            self._ended = True
            self.set_shutdown(SSL.RECEIVED_SHUTDOWN)  # OpenSSL looks at it before it goes on to the next record

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """Take what has come, of as many records as there are, up to so many bytes.

        :raises SSL.Error: as OpenSSL does, when all that came before was given.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        try:
            found = super().recv(bufsiz, flags)
        except SSL.ZeroReturnError:
            raise self._end() from None
        pieces, left, records, data = [found], bufsiz - len(found), self._records + 1, self._data + len(found)
        try:
            while left > 0:
                if too_many_records(records, data):
                    raise SSL.Error([("", "", TOO_MANY)])
                pieces.append(super().recv(left, flags))
                left -= len(pieces[-1])
                records, data = records + 1, data + len(pieces[-1])
        except SSL.WantReadError:
            pass  # it is asked again, since more may have come by then
        except SSL.Error as error:
            self._failure = self._end() if isinstance(error, SSL.ZeroReturnError) else error
        if len(pieces) > 1:
            found = b"".join(pieces)
        self._records, self._data = records, data
        return found

    def _end(self) -> SSL.Error:
        """How the peer's data ended."""
        return SSL.Error([("", "", TOO_MANY)]) if self._ended else SSL.ZeroReturnError()


def count_message(connection: SSL.Connection, where: int, _: int) -> None:
    """What OpenSSL calls at each step that it takes (`SSL.Context.set_info_callback`)."""
    if where & SSL.SSL_CB_LOOP and isinstance(connection, TlsConnection):
        connection.message_came()
