"""Changes of a shard with replicas whose members answer when the test says so."""

from __future__ import annotations

from deferreds import watch
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from pyshard.errors import NotConfigured
from pyshard.shard.large_changes import ALONE, LargeChanges
from pyshard.shard.small_changes import SMALL
from pyshard.storage import Sender
from pyshard.storage.uncommitted_bytes import UncommittedBytes

ONE, TWO, NEAR, FAR = (Sender(*each) for each in (("a", "c1"), ("a", "c2"), ("b", "c3"), ("c", "c4")))
MOST_ALONE = 3  # of these that are on their way while nobody else asks
LARGE = ALONE // MOST_ALONE
TOOK = 0.02  # seconds until all members have a large change


class Changing:
    """Changes of a shard whose members answer when the test says so.

    :ivar begun: the names of what was begun, in order.
    :ivar at_once: whether all members have it in the same moment.
    :ivar refusal: what it raises instead.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.uncommitted = UncommittedBytes()
        self.large = LargeChanges(self.clock, self.uncommitted)
        self.begun: list[str] = []
        self._under_way: dict[str, Deferred[str]] = {}
        self.refusal: NotConfigured | None = None
        self.at_once = False

    def ask(self, sender: Sender, name: str, weight: int = LARGE) -> list[str | BaseException]:
        """Ask for a change; what it comes to."""

        def begin() -> Deferred[str]:
            if self.refusal is not None:
                raise self.refusal
            self.begun.append(name)
            if self.at_once:
                return succeed(name)
            self._under_way[name] = Deferred()
            return self._under_way[name]

        return watch(self.large.serve(sender, weight, begin))

    def small(self, sender: Sender, name: str) -> list[str | BaseException]:
        """Ask for a small change."""
        return self.ask(sender, name, SMALL)

    def committed(self, *names: str) -> None:
        """All members have these."""
        for name in names:
            self._under_way.pop(name).callback(name)

    def turn(self) -> None:
        """The reactor's next turn: what is due, but for what comes of that."""
        for call in [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]:
            function = call.func
            call.cancel()
            function()
