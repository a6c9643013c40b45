"""Joins the chunks in which a long argument comes in a box (`pyshard.protocol.chunked_arguments`)."""

from __future__ import annotations

_DIGITS = 3  # of the number of an argument's chunks


def join_chunks(box: dict[bytes, bytes]) -> None:
    """Have each argument of several chunks in one, which may be longer than a value of AMP.

    One that lacks a chunk stays as it is. Each pair is looked at twice at the most, whatever numbers of chunks a peer
    writes.
    """
    for name, count in list(box.items()):
        if len(count) > _DIGITS or not count.isdigit() or count[:1] in b"0" or count == b"1":
            continue
        chunks: list[bytes] = []
        while len(chunks) < int(count) and (chunk := box.get(b"%s.%d" % (name, len(chunks)))) is not None:
            chunks.append(chunk)
        if len(chunks) == int(count):
            for number in range(1, len(chunks)):
                del box[b"%s.%d" % (name, number)]
            box[name] = b"1"
            box[name + b".0"] = b"".join(chunks)
