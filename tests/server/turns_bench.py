"""Turns of connections by a clock that goes on while boxes are served."""

from __future__ import annotations

from twisted.internet.task import Clock

from pyshard.metrics.collector_time import CollectorTime
from pyshard.security.tokens_and_roles import Role
from pyshard.server.served_connection import SMALL
from pyshard.server.serving_turns import ServingTurns
from pyshard.settings import settings

AWAY = 0.00007  # seconds for which whoever asks one thing at a time isn't there
BOX = settings.STRANGERS_SERVED / 10  # seconds that a box takes where nothing else is said


def make_due_calls(clock: Clock) -> None:
    """Make the calls of a reactor's turn: those that are due, or will be when nothing else comes meanwhile."""
    if clock.calls and (wait := min(call.getTime() for call in clock.calls) - clock.seconds()) > 0:
        clock.rightNow += wait
    for call in [call for call in clock.calls if call.getTime() <= clock.seconds()]:
        function, args, more = call.func, call.args, call.kw
        call.cancel()
        function(*args, **more)


class Bench:
    """Turns, by a clock that goes on while boxes are served; and who was served, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.number = 0  # of the reactor's turn
        self.collector = CollectorTime(self.clock.seconds, self.clock.seconds)
        self.turns: ServingTurns[Connection] = ServingTurns(
            self.clock, lambda: self.number, self.processor, self.collector, lambda: self.reads
        )
        self.served: list[str] = []
        self.taken = 0.0  # seconds for which the processor was others'
        self.reads = 0  # from a disk

    def processor(self) -> float:
        """The seconds of a processor that the daemon has had: all, but for those that others had meanwhile."""
        return self.clock.seconds() - self.taken

    def collect(self, seconds: float) -> None:
        """Have Python's garbage collector stop everything."""
        self.collector.note("start", {"generation": 2})
        self.clock.rightNow += seconds
        self.taken += seconds
        self.collector.note("stop", {"generation": 2})

    def peer(self, name: str, boxes: int = 0, cost: float = BOX, **more: object) -> Connection:
        """A connection over which so many boxes have come, each of which takes `cost` seconds."""
        return Connection(self, name, boxes, cost, **more)  # type: ignore[arg-type]  # what the tests give

    def ask(self, peer: Connection) -> None:
        """Have a peer ask one thing, and think about the answer for `AWAY`, while the daemon goes on."""
        asked = self.clock.seconds()
        peer.arrive(1)
        while peer.served_at <= asked:
            self.turn()
        self.away(AWAY, peer.served_at)

    def away(self, seconds: float, since: float | None = None) -> None:
        """Let some time go by in which nothing comes."""
        end = (self.clock.seconds() if since is None else since) + seconds
        while self.clock.calls and min(call.getTime() for call in self.clock.calls) <= end > self.clock.seconds():
            self.turn()
        self.clock.rightNow = max(end, self.clock.seconds())
        self.number += 1

    def turn(self) -> list[str]:
        """Who is served in the reactor's next turn."""
        before = len(self.served)
        self.number += 1
        make_due_calls(self.clock)
        return self.served[before:]


class Connection:
    """A connection as `ServingTurns` sees it."""

    def __init__(
        self, bench: Bench, name: str, boxes: int, cost: float, origin: str | None = None, role: Role | None = Role.READ
    ) -> None:
        self.bench, self.name, self.boxes, self.cost = bench, name, boxes, cost
        self.origin, self.role, self.account = origin or name, role, ""
        self.costs: list[float] = []  # of its next boxes, one after the other, again and again
        self.taken = 0.0  # seconds for which others have the processor while a box is served
        self.collected = 0.0  # seconds for which the garbage collector has it
        self.waits = self.ended = self.handshaking = self.replicates = self.moves = False
        self.peer_has_ended = self.was_ended = False
        self.has_had_all = False  # and nothing of it is left to be served
        self.size = 0  # bytes of each box
        self.short_up_to = SMALL
        self.heard = self.served_at = 0.0

    @property
    def has_unserved(self) -> bool:
        return not self.waits and not self.ended and self.boxes > 0

    @property
    def unserved_bytes(self) -> int:
        return self.boxes * self.size

    @property
    def is_left(self) -> bool:
        """See `Served`."""
        return self.peer_has_ended and not self.has_had_all

    def end_unserved(self) -> None:
        self.was_ended = self.ended = True
        self.bench.turns.forget(self)

    def arrive(self, boxes: int = 0) -> None:
        """Have so many more boxes come."""
        self.boxes += boxes
        if not self.waits:
            self.heard = self.bench.clock.seconds()
            self.bench.turns.serve(self)

    def serve_next(self) -> bool:
        if self.waits or not self.boxes:
            return False
        self.boxes -= 1
        self.bench.served.append(self.name)
        self.bench.clock.rightNow += self.costs[self.boxes % len(self.costs)] if self.costs else self.cost
        self.bench.clock.rightNow += self.taken
        self.bench.taken += self.taken
        if self.collected:
            self.bench.collect(self.collected)
        self.served_at = self.bench.clock.seconds()
        return self.boxes > 0

    def wait_for_turn(self) -> None:
        self.waits = True

    def wait_unread(self) -> None:
        self.waits = True

    def take_turn(self) -> None:
        self.waits = False
        self.arrive()


def busy_bench() -> Bench:
    """Turns by a clock of their own, in which several addresses ask all the time."""
    made = Bench()
    for number in range(3):
        made.peer(f"busy{number}", cost=0.00003).arrive(1_000_000)
    return made


def wait_of(bench: Bench, peer: Connection) -> float:
    """Seconds until a peer that asks one thing is answered."""
    began = bench.clock.seconds()
    bench.ask(peer)
    return peer.served_at - began
