"""TLS that breaks in the middle of a connection."""

from __future__ import annotations

import pytest

from pyshard import Pyshard
from pyshard.errors import NotTrusted, OutcomeUnknown
from pyshard.model.key_slots import slot_of


class BrokenTls:
    """Sends all in plain, and can't read anything."""

    def __init__(self) -> None:
        self._unsent: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See `TlsFilter`."""
        self._unsent.append(data)

    def take(self) -> bytes:
        """See `TlsFilter`."""
        found = b"".join(self._unsent)
        self._unsent.clear()
        return found

    def feed(self, data: bytes) -> None:
        """See `TlsFilter`."""

    def read(self) -> bytes | None:
        """See `TlsFilter`."""
        raise NotTrusted("a record was changed on the way")


def test_tls_that_breaks_after_the_greeting(app: Pyshard) -> None:
    """The connection has ended, and no more: a read is sent again over a new one, a change is in doubt."""
    assert app.write("test", 1)
    pool = app._cluster().pool_for(slot_of(b"test"))

    def break_connection() -> None:
        connection = pool.take()
        assert connection is not None
        connection._tls = BrokenTls()  # type: ignore[assignment]  # all that is asked of one
        pool.put_back(connection)

    break_connection()
    found = app.read("test")
    assert found is not None
    assert found["record"] == 1
    break_connection()
    with pytest.raises(OutcomeUnknown, match="a record was changed on the way"):
        app.write("test", 2)
