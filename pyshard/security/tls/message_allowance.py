"""How much of TLS's own talk a peer may send beside data, and how small its records may be. Pure.

After the handshake a peer may change its keys whenever it likes (``KeyUpdate``), in 27 bytes. Each change costs the
other side some 30 microseconds, and OpenSSL has no bound on them. A megabyte took a daemon's processor for more than a
second, also from a stranger, and four fifths of a client's time from the other shards. Peers change their keys after
many gigabytes, if ever.

Each record of data costs two microseconds, whatever it holds. A megabyte of records of one byte took 0.1 s, of a client
with another shard's answers as well.

Rules:

- some messages may come with no data at all, more than the longest handshake has;
- further ones are earned by data;
- where messages can't be counted, bytes are: those that crossed the wire for each byte of data;
- where records can be counted, each counts as so many bytes as TLS puts around its data.
"""

from __future__ import annotations

#: What is said of a peer that sends more.
TOO_MANY = "the peer sent too many messages with too little data"

#: What is said of a peer whose handshake has more bytes than `HANDSHAKE_BYTES`.
TOO_LONG = "the peer sent more than a handshake needs; its chain of certificates may be too long"

_MESSAGES = 200  # what may come without data; each step of a handshake counts as one
_DATA = 16 * 1024  # bytes of data that earn one more message

_WIRE = 16 * 1024  # bytes on the wire that may come without data
_PER_BYTE = 8  # bytes on the wire for each byte of data: a record of four bytes has so many
_RECORD = 22  # bytes on the wire around the data of one record


def too_many_messages(messages: int, data: int) -> bool:
    """Whether so many messages are too many for so many bytes of data."""
    return messages > _MESSAGES + data // _DATA


def too_many_bytes(wire: int, data: int) -> bool:
    """Whether so many bytes on the wire are too many for so many bytes of data, none of which waits to be read."""
    return wire > _WIRE + _PER_BYTE * data


def too_many_records(records: int, data: int) -> bool:
    """Whether so many records are too many for the bytes of data in them."""
    return too_many_bytes(records * _RECORD + data, data)
