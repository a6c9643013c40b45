"""The boxes of `Apply` and of its answer, made and read without AMP's machinery, which costs more than a small batch.

A test compares them with what AMP makes of `pyshard.protocol.commands.Apply`.
"""

from __future__ import annotations

from pyshard.protocol.argument_types import take_integer
from pyshard.protocol.boxes import Box
from pyshard.protocol.chunked_arguments import put_chunks, take_chunks


def apply_box(epoch: int, batch: bytes) -> Box:
    """The arguments of `Apply`."""
    box = {b"epoch": b"%d" % epoch}
    put_chunks(box, b"batch", batch)
    return box


def apply_arguments(box: Box) -> tuple[int, bytes]:
    """Epoch and batch out of the box of an `Apply`.

    :raises BadRequest: they aren't there.
    """
    return take_integer(box, b"epoch"), take_chunks(box, b"batch")


def answers_box(epoch: int, answers: bytes) -> Box:
    """The answer to an `Apply`."""
    box = {b"epoch": b"%d" % epoch}
    put_chunks(box, b"answers", answers)
    return box


def answers_in(box: Box) -> bytes:
    """The answers out of the box that answers an `Apply`.

    :raises BadRequest: they aren't there.
    """
    return take_chunks(box, b"answers")
