"""Connections of the module ssl, whose peers may send little of TLS's own talk beside data.

The module tells nothing of messages such as ``KeyUpdate``. But how much of what crossed the wire was used up is known,
and how much data that was.
"""

from __future__ import annotations

import ssl
from typing import Any

from pyshard.security.tls.message_allowance import TOO_MANY, too_many_bytes


class BoundedSslObject(ssl.SSLObject):
    """One connection.

    :ivar incoming: what has come over the wire.
    """

    incoming: ssl.MemoryBIO
    _wire = _data = 0  # bytes that were used up, and bytes of data in them

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # data, or, in a buffer, how much there is
        """See `ssl.SSLObject`.

        :raises ssl.SSLError: as there, or the peer sent too much that is no data.
        """
        before = self.incoming.pending
        found: Any
        try:
            found = super().read(len, buffer)
        except ssl.SSLWantReadError:
            self._wire += before - self.incoming.pending
            if too_many_bytes(self._wire, self._data):
                error = ssl.SSLError(ssl.SSL_ERROR_SSL, TOO_MANY)
                error.reason = TOO_MANY  # as the module's own errors have it
                raise error from None
            raise
        self._wire += before - self.incoming.pending
        self._data += found.__len__() if buffer is None else found
        return found


class BoundedSslContext(ssl.SSLContext):
    """A context that makes such connections."""

    sslobject_class = BoundedSslObject

    def wrap_bio(self, incoming: ssl.MemoryBIO, *given: Any, **named: Any) -> BoundedSslObject:
        """See `ssl.SSLContext`."""
        made = super().wrap_bio(incoming, *given, **named)
        assert isinstance(made, BoundedSslObject)
        made.incoming = incoming
        return made
