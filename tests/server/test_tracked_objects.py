"""How many objects Python's garbage collector looks at for a connection, and for a question, while everybody waits."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from shard.led import Led
from shard.served import Bench
from shard.states import A
from twisted.internet.address import IPv4Address
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Server
from twisted.python.failure import Failure

from pyshard.model.document_encoding import encode
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Write
from pyshard.protocol.boxes import Box, serialize
from pyshard.protocol.chunked_arguments import put_chunks

_MANY = 50  # that are made: a few objects more are there once


@contextmanager
def tracked(most: int) -> Iterator[None]:
    """Of each of many no more objects are there behind this than before."""
    gc.collect()
    before = len(gc.get_objects())
    yield
    gc.collect()
    assert (len(gc.get_objects()) - before) / _MANY <= most


def test_connections() -> None:
    """A connection takes a score of objects, and none for each command that is answered over it."""
    bench, reactor = Bench(slow=1.0), EPollReactor()
    with ExitStack() as opened:
        listening = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        peers = [opened.enter_context(socket.create_connection(listening.getsockname())) for _ in range(_MANY)]
        accepted, made = [listening.accept()[0] for _ in peers], list[Server]()
        with tracked(20):
            for number in range(_MANY):
                address = ("127.0.0.1", number)
                protocol = bench.service.factory.buildProtocol(IPv4Address("TCP", *address))
                # Its port is needed for nothing but its name.
                transport = Server(accepted.pop(), protocol, address, None, number, reactor)  # type: ignore[arg-type]
                protocol.makeConnection(transport)
                made.append(transport)
        for transport in made:
            transport.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize(("what", "most"), [("has", 40), ("write", 56), ("count", 62)])
def test_questions_that_wait(what: str, most: int) -> None:
    """What waits for a lease, or for members, takes some dozens of objects."""
    led = Led()
    led.join()
    if what == "write":
        led.hear()
    box: Box = {b"_ask": b"1", b"epoch": b"%d" % led.epoch}  # none is answered, so they needn't differ
    if what == "count":
        box |= {b"_command": b"Count", b"index": b"", b"slot": b"10"}
    else:
        box[b"_command"] = b"Apply"
        put_chunks(box, b"batch", encode_runs([Has("", [A]) if what == "has" else Write("", [A], [encode(1)[0]])]))
    peers: list[BoundedAMP] = [led.connect(BoundedAMP(led.clock)) for _ in range(_MANY // 10)]

    def ask(times: int) -> None:
        for peer in peers:
            peer._send_bytes(times * serialize(box))
        led.network.settle()

    ask(1)
    with tracked(most):
        ask(10)
    assert all(not peer.ended for peer in peers)
