"""A cluster in memory with honest clients, hostile peers beside them, and what must hold after each attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

from clusters import all_of, cluster_of
from fuzzing import Hostile
from owed_answers import Owed, owed
from relay import between
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard import Client
from pyshard.client.backup_client import BackupClient
from pyshard.errors import PyshardError
from pyshard.protocol import commands
from pyshard.protocol.boxes import Box, BoxParser, Limits, serialize
from pyshard.security.tokens_and_roles import parse
from pyshard.server.connection import ServerConnection
from pyshard.server.listener import Listener
from pyshard.server.stranger_limits import STRANGER
from pyshard.testing import MemoryCluster

SHARD, OTHER, BOOTSTRAP = ("127.0.0.1", 5050), ("127.0.0.1", 5051), ("localhost", 9192)
SECRETS = {role: f"{role}-token-{'x' * 20}" for role in ("read", "backup", "write", "admin")}


class Raw(Protocol):
    """A hostile peer's end: says anything, and puts down what it hears."""

    def __init__(self) -> None:
        self.parser = BoxParser(Limits(keys=100_000, size=1 << 30))
        self.boxes: list[Box] = []
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.parser.feed(data)
        while (box := self.parser.next_box()) is not None:
            self.boxes.append(box)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True

    def say(self, data: bytes) -> None:
        """Send bytes, unless the connection is closed."""
        if not self.lost and self.transport is not None:
            self.transport.write(data)


@implementer(ILogObserver)
class Problems:
    """A log observer: puts down what must not be logged.

    :ivar expected: parts of the warnings that may be: one line for each connection that is closed, or wrong token.
    """

    def __init__(self) -> None:
        self.expected = ["the peer broke the protocol", "a wrong token"]
        self.found: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        level, text = event.get("log_level") or LogLevel.info, formatEvent(event)
        expected = level < LogLevel.warn or (level is LogLevel.warn and any(part in text for part in self.expected))
        if event.get("log_failure") or event.get("isError") or not expected:
            self.found.append(text)


class Arena:
    """A cluster under attack.

    :param kind: of the shards' stores, see `clusters.KINDS`.
    :param guarded: whether the daemons have tokens.
    :ivar recorded: boxes that an honest client sent to the bootstrap and to a shard.
    """

    def __init__(self, cluster: MemoryCluster, guarded: bool, random: Random) -> None:
        self.cluster = cluster
        self.guarded = guarded
        self.random = random
        self.problems = Problems()
        self.client = self.connect()
        cluster.run(self.client.create_index("honest"))
        self.documents: dict[tuple[str, str | None], dict[str, Any]] = {}
        for number in range(20):
            key, index = f"honest-{random.getrandbits(64):016x}", "honest" if number % 2 else None
            self.documents[key, index] = {"key": key, "data": random.randbytes(number * 50)}
            cluster.run(self.client.write(key, self.documents[key, index], index))
        self.recorded = self._record()
        self.check_all()  # its connections, too, are there again

    def connect(self) -> Client:
        """A new honest client."""
        return self.cluster.connect(secret=SECRETS["write"].encode() if self.guarded else None)

    def attack(self, address: tuple[str, int], pieces: Sequence[bytes], role: str = "") -> Raw:
        """Send bytes over a new connection, and check what comes of it; the connection stays open.

        :param role: present a token of this role first.
        """
        raw = self._dial(address)
        if role:
            secret = SECRETS[role].encode()
            raw.say(b"\0\x04_ask\0\x01A\0\x08_command\0\x0cAuthenticate\0\x05token\0%c%b\0\0" % (len(secret), secret))
            self.cluster.network.settle()
            assert raw.boxes.pop() == {b"_answer": b"A", b"role": role.encode()}
        for piece in pieces:
            raw.say(piece)
            self.cluster.network.settle()
        limits = STRANGER if self.guarded and not role else Limits()
        _compare(raw, owed(b"".join(pieces), limits), self.guarded)
        return raw

    def leave(self, raw: Raw) -> None:
        """The hostile peer goes."""
        if raw.transport is not None:
            raw.transport.loseConnection()
        self.cluster.network.settle()

    def check(self) -> None:
        """Nobody else has noticed anything: documents are what they were, and nothing is left of who has gone."""
        self.cluster.network.settle()
        some = self.random.sample(sorted(self.documents, key=str), 3)
        found = self.cluster.run(gatherResults([self.client.read(key, index) for key, index in some]))
        assert [one and one["record"] for one in found] == [self.documents[place] for place in some]
        self.write(*some[0])
        for connection in self.connections():
            assert (connection.answering, connection.under_way) == (0, 0)
        assert not self.problems.found

    def check_all(self) -> None:
        """Every document is what it was."""
        for (key, index), document in self.documents.items():
            found = self.cluster.run(self.client.read(key, index))
            assert found is not None
            assert found["record"] == document

    def write(self, key: str, index: str | None) -> None:
        """Change an honest document."""
        document = {"key": key, "data": self.random.randbytes(self.random.randrange(200))}
        assert self.cluster.run(self.client.write(key, document, index))
        self.documents[key, index] = document

    def connections(self) -> list[ServerConnection]:
        """Every connection that a daemon has accepted."""
        services = [self.cluster.bootstrap, *self.cluster.services.values()]
        listeners = [one for service in services if service for one in service if isinstance(one, Listener)]
        return [connection for listener in listeners for connection in listener._factory.connections]

    def _dial(self, address: tuple[str, int]) -> Raw:
        dialed: list[Any] = []
        self.cluster.network.connect(address, Factory.forProtocol(Raw)).addCallback(dialed.append)
        self.cluster.network.settle()
        raw: Raw = dialed[0]
        return raw

    def _record(self) -> list[bytes]:
        heard: list[bytes] = []
        with ExitStack() as stack:
            for address in (SHARD, BOOTSTRAP):
                stack.enter_context(between(self.cluster, address, hear=heard.append))
            client, run = self.connect(), self.cluster.run
            run(client.create_index("recorded"))
            for number in range(10):
                key = f"recorded{number}"
                run(client.write(key, {"n": number}, ttl=60))
                all_of(self.cluster, [client.read(key), client.item(key), client.has(key), client.touch(key, 60)])
                run(client.increment(f"recorded counter{number}", 10**number))
            run(client.write_many({f"recorded{number}": "x" * 100 for number in range(100)}))
            run(client.read_many([f"recorded{number}" for number in range(100)]))
            run(client.keys().next_page())
            all_of(self.cluster, [client.stat(), client.readiness(), client.indexes(), client.pop("recorded1")])
            for shard in BackupClient(client).shards:
                opened = run(shard.call(commands.OpenSnapshot, 5))
                run(shard.call(commands.ReadSnapshot, 5, snapshot=opened["snapshot"]))
                run(shard.call(commands.CloseSnapshot, 5, snapshot=opened["snapshot"]))
            run(client.remove("recorded2"))
            client.close()
        self.cluster.advance(2)
        return [data for data in heard if b"Authenticate" not in data]


@contextmanager
def arena(kind: str = "memory", guarded: bool = False, seed: int = 0) -> Iterator[Arena]:
    """An arena; when it is closed nothing is left, and every document is what it was."""
    tokens = parse("\n".join(f"{role} {secret}" for role, secret in SECRETS.items())) if guarded else None
    with ExitStack() as stack:
        cluster = stack.enter_context(cluster_of(kind, tokens=tokens))
        made = Arena(cluster, guarded, Random(seed))
        globalLogPublisher.addObserver(made.problems)
        stack.callback(globalLogPublisher.removeObserver, made.problems)
        yield made
        cluster.network.settle()
        made.check_all()
        made.client.close()
        cluster.close()
        cluster.advance(0)
        assert cluster.clock.getDelayedCalls() == []
        assert not made.problems.found


def under_lies(made: Arena, address: tuple[str, int], random: Random, share: float, everybody: bool) -> Counter[str]:
    """Have an honest client work while a daemon's answers are spoilt on their way.

    Every call ends in time, with a `PyshardError` or an answer of its own; what other daemons answer is right; and when
    the lies end, so do their consequences.

    :param share: of the answers that are spoilt.
    :param everybody: whether the daemons, too, are told lies; else this client alone.
    :return: how many calls came to what.
    """
    liar, cluster, client, counts = hostile(made, random), made.cluster, made.connect(), Counter[str]()

    def change(box: Box) -> bytes:
        return liar.spoilt(box) if random.random() < share else serialize(box)

    def put_down(outcome: object) -> object:
        error = outcome.value if isinstance(outcome, Failure) else None
        assert error is None or isinstance(error, PyshardError), repr(error)
        counts[type(error).__name__ if error else "done"] += 1
        return None if error else outcome

    def own(found: Any, key: str) -> None:
        record = found["record"] if found else None
        if isinstance(record, dict) and record.get("key") in {other for other, _ in made.documents} - {key}:
            raise AssertionError(f"{key} was answered with the document of {record['key']}")

    key = "victim"
    if everybody:
        made.problems.expected += ["unreachable: ", "refused: "]
    with between(cluster, address, change, everybody=everybody):
        for _ in range(3):
            calls: list[Deferred[Any]] = [
                client.read("test", deadline=1), client.has("test", deadline=1), client.item("test1", deadline=1),
                client.write(key, {"key": key}, deadline=1), client.increment("n", deadline=1),
                client.touch(key, 60, deadline=1), client.remove("victims", deadline=1),
                client.pop("victims", deadline=1),
                client.keys(deadline=1).next_page(), client.stat(deadline=1), client.readiness(deadline=1),
                client.indexes(deadline=1), client.create_index(f"i{random.getrandbits(20)}", deadline=1),
                client.write_many({f"victim{n}": {"key": f"victim{n}"} for n in range(20)}, deadline=1),
                client.read_many([f"victim{n}" for n in range(20)], deadline=1),
            ]  # fmt: skip
            calls = random.sample(calls, len(calls))
            reads = [
                client.read(one, index, deadline=1).addCallback(own, one)
                for one, index in random.sample(sorted(made.documents, key=str), 5)
            ]
            cluster.run(gatherResults([call.addBoth(put_down) for call in [*calls, *reads]]), seconds=3)
            if not everybody:
                made.check()
    if address == BOOTSTRAP:  # whose map clients believe, until there is a newer one
        cluster.run(client.close())
        client = made.connect()
    cluster.run(client.write(key, 1, deadline=5))
    assert cluster.run(client.read(key)) is not None
    made.check_all()
    cluster.run(client.close())
    return counts


def hostile(made: Arena, random: Random) -> Hostile:
    """Who attacks an arena."""
    return Hostile(random, made.recorded)


def _compare(raw: Raw, expected: Owed, guarded: bool) -> None:
    """Compare what came of an attack with what was owed."""
    answered = Counter(box.get(b"_answer", box.get(b"_error", b"")) for box in raw.boxes)
    asked = Counter(expected.tags)
    assert not answered - asked, "an answer to nothing"
    if expected.breach:
        assert raw.lost, "who broke the protocol is still connected"
    elif not (guarded and expected.tokens >= 3):
        assert not raw.lost, "a connection was closed without a reason"
        assert answered == asked
