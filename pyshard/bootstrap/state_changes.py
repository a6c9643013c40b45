"""Changes of the cluster state, one at a time, through a state store that others may change, too.

Rules:

- Whose change is next is decided by `pyshard.bootstrap.change_turns`.
- A change is a function of the state: given the present one it gives the next, or raises. When another bootstrap was
  faster, its state is taken, and the function is asked again. Only the state store decides whose swap it was.
- An unknown swap is tried again as it is, for some seconds. After that its caller hears `OutcomeUnknown`, and this
  process goes on with the state that it had, until it sees another one.
- A change has an end, which goes down to each question that the state store is asked for it. One that waits for its
  turn until then is refused then, whoever is before it.
- A change that can't be made is refused by the state that is in the store, since the known one may be old.
- A state is taken on only if it is newer than the one that is known, and of the same cluster.
- Without the state store the known state stands, and nothing changes.
- What others ask for leaves room for what the bootstrap has to save by itself (`pyshard.bootstrap.state_room`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.change_turns import Asker, ChangeTurns
from pyshard.bootstrap.state_room import check_room
from pyshard.bootstrap.state_stores.state_store import NOTHING, StateStore, StoredState, SwapApplied, SwapOutcome
from pyshard.errors import ConfigError, OutcomeUnknown, PyshardError, Unavailable
from pyshard.metrics.line_pace import LinePace
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import check_readable
from pyshard.settings import settings

#: Gives the next state, given the present one. It raises `PyshardError` when there is none, and may be asked again.
Change: TypeAlias = Callable[[ClusterState], ClusterState]

#: Seconds that a change may take, from its call on, unless it is given others: as many as a housekeeping call.
CHANGE_WITHIN = settings.TIMEOUT

#: Seconds before a swap with an unknown outcome is tried again.
TRY_AGAIN = 0.2


class StateChanges:
    """The newest state that this process knows, and the way to change it.

    :param store: where it is kept.
    :param clock: times changes.
    :param writer: stands in the ids of swaps; no other process ever had it.
    :param stored: what is known at first; None: nothing, until `open` has found or made it.
    :param listener: is called when another state is known.
    :ivar known: what is known; None: nothing yet.
    :ivar trouble: why the state store isn't of use just now, in one line; empty: it is.
    """

    _log = Logger()

    def __init__(
        self,
        store: StateStore,
        clock: IReactorTime,
        writer: str,
        stored: StoredState | None,
        listener: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._writer = writer
        self._writes = 0
        self.known = stored
        self._listener = listener
        self.trouble = "" if stored is not None else f"{store.name} wasn't reached yet"
        self._troubled_since = clock.seconds()
        self._pace = LinePace(settings.SHARD_LINES)
        self._turns = ChangeTurns(clock)
        self._closed = False
        self._readable: ClusterState | None = None  # the last one that was found to be so

    @property
    def state(self) -> ClusterState:
        """The newest state that is known.

        :raises Unavailable: none is.
        """
        if self.known is None:
            raise Unavailable(f"this bootstrap has no cluster state yet, since it waits for it: {self.trouble}")
        return self.known.state

    def troubled_for(self) -> float:
        """Seconds since the state store was of use; 0: it is."""
        return self._clock.seconds() - self._troubled_since if self.trouble else 0.0

    def change(self, decide: Change, within: float = CHANGE_WITHIN, asker: Asker | None = None) -> Deferred[None]:
        """Change the state.

        :param decide: gives the next state; the same one: nothing is to be changed.
        :param within: seconds that it may take; what is under way then has an unknown outcome.
        :param asker: who asks for it; None: the bootstrap itself.
        :return: a Deferred that fires when the change is there, and known.
        :raises BadRequest: (in the Deferred) nobody could read the new state; nothing has changed.
        :raises ConfigError, Unavailable: (in the Deferred) it can't be put into the state store; nothing has changed.
        :raises Overloaded: (in the Deferred) too many of that address wait already; nothing has changed.
        :raises OutcomeUnknown: (in the Deferred) it may be there, or will be, or won't.
        :raises PyshardError: (in the Deferred) what `decide` raises; nothing has changed.
        """
        end = self._clock.seconds() + within
        answer: Deferred[None] = Deferred()
        waiting = self._clock.callLater(within, lambda: answer.errback(self._waited()))

        def begin() -> Deferred[None]:
            if waiting.active():
                waiting.cancel()
            return Deferred.fromCoroutine(self._change(decide, end, asker is not None))

        def over(outcome: Failure | None) -> None:
            if waiting.active():  # it was refused before it was begun
                waiting.cancel()
            if not answer.called:
                answer.callback(outcome)

        self._turns.run(begin, asker).addBoth(over)
        return answer

    def look(self) -> Deferred[None]:
        """Read what is in the state store, and take it on. It is no failure if that can't be: see `trouble`."""
        return self._looked(lambda: None)

    def open(self, first: Callable[[], ClusterState]) -> Deferred[None]:
        """As `look`, but put a new cluster's state there, if there is none.

        :param first: gives that.
        """
        return self._looked(first)

    def check_readable(self, state: ClusterState) -> None:
        """Refuse a state that nobody could read.

        :raises BadRequest: it is one.
        """
        check_readable(state, self._readable)

    def close(self) -> None:
        """Try no swap again: this process ends."""
        self._closed = True

    # ------------------------------------------------------------------ inside

    def _looked(self, first: Callable[[], ClusterState | None]) -> Deferred[None]:
        def begin() -> Deferred[None]:
            return Deferred.fromCoroutine(self._look(first, self._clock.seconds() + CHANGE_WITHIN))

        return self._turns.run(begin)

    async def _look(self, first: Callable[[], ClusterState | None], end: float) -> None:
        try:
            found = await self._store.get(end)
            if found is None and self.known is None and (state := first()) is not None:
                self.check_readable(state)
                outcome = await self._store.swap(state, NOTHING, f"{self._writer}-0", end)
                found = StoredState(state, outcome.revision) if isinstance(outcome, SwapApplied) else outcome.found
            self._take(found)
        except PyshardError as error:
            self._failed(error)

    async def _change(self, decide: Change, end: float, is_asked_for: bool) -> None:
        if self._clock.seconds() >= end:
            raise self._waited()
        while True:
            state = await self._decided(decide, end)
            known = self.known
            assert known is not None, "there is a state"
            if state == known.state:
                return
            if is_asked_for:
                check_room(known.state, state, self._store.most_bytes)
            self.check_readable(state)  # what is there must be so after a restart, whatever a peer wrote into it
            self._readable = state
            outcome, doubt = await self._swap(state, known, end)
            if isinstance(outcome, SwapApplied):
                self._take(StoredState(state, outcome.revision))
                return
            self._take(outcome.found)
            if doubt is not None:
                raise OutcomeUnknown(f"{doubt}; another bootstrap has changed the state since")
            if self._clock.seconds() >= end:
                raise Unavailable("other bootstraps change the state all the time; try again")

    async def _decided(self, decide: Change, end: float) -> ClusterState:
        """What is to be swapped in, by the newest state if that makes a difference.

        :raises PyshardError: what `decide` raises, also by the state that is there now.
        :raises Unavailable: that can't be read, so nobody knows whether `decide` is right.
        """
        known = self.known
        try:
            return decide(self.state)
        except PyshardError:
            if known is None or not self._store.shared:
                raise
            await self._look(lambda: None, end)
            if self.trouble:
                raise Unavailable(f"changes of the cluster wait for its state store: {self.trouble}") from None
            if self.known is known:
                raise
        return decide(self.state)

    async def _swap(
        self, state: ClusterState, known: StoredState, end: float
    ) -> tuple[SwapOutcome, PyshardError | None]:
        """Have a state swapped in.

        :return: what became of it, and why that was unknown for a while; None: it never was.
        """
        self._writes += 1
        doubt: PyshardError | None = None
        while True:
            try:
                write = f"{self._writer}-{self._writes}"
                return await self._store.swap(state, known.revision, write, end), doubt
            except OutcomeUnknown as error:
                doubt = error
            except (Unavailable, ConfigError) as error:
                if doubt is None:
                    self._failed(error)
                    raise
            self._failed(doubt)
            if self._clock.seconds() + TRY_AGAIN >= end:
                raise doubt
            await deferLater(self._clock, TRY_AGAIN)
            if self._closed:
                raise doubt

    def _waited(self) -> Unavailable:
        """What a change hears whose time was over before it was begun."""
        return Unavailable(f"changes of the cluster wait for its state store ({self.trouble or 'it is slow'})")

    def _take(self, found: StoredState | None) -> None:
        """Know what was found.

        :raises ConfigError: it can't follow what is known; that stands.
        """
        known = self.known
        try:
            if found is None:
                raise ConfigError(f"{self._store.name}: the cluster's state is gone from there; put it back")
            if known is not None:
                check_successor(self._store.name, known.state, found.state)
        except ConfigError as error:
            self._failed(error)
            raise
        self._reached()
        self.known = found
        if known is None or found.state != known.state:
            self._listener()

    def _failed(self, error: PyshardError) -> None:
        if not self.trouble:
            self._troubled_since = self._clock.seconds()
        news, self.trouble = str(error) != self.trouble, str(error)
        if news and (more := self._pace.ending(self._clock.seconds())) is not None:
            waits = "it waits for a cluster state" if self.known is None else "changes of the cluster wait"
            self._log.warn("state store: {why}; {waits}{more}", why=self.trouble, waits=waits, more=more)

    def _reached(self) -> None:
        if self.trouble:
            self._log.info("state store {store}: at hand", store=self._store.name)
            self.trouble = ""


def check_successor(store: str, known: ClusterState, found: ClusterState) -> None:
    """Refuse a state that can't follow the one that is known. Pure.

    :param store: what messages call where it was found.
    :raises ConfigError: it is another cluster's, or an older one.
    """
    if found.cluster != known.cluster:
        raise ConfigError(
            f"{store}: found the state of cluster {found.cluster}, and this bootstrap's is {known.cluster}; give each "
            "cluster a place of its own, or restart the bootstrap if that is its cluster now"
        )
    if found.order < known.order or (found.order == known.order and found != known):
        raise ConfigError(
            f"{store}: found the state of {found.shown_order}, which is no later one than this bootstrap has "
            f"({known.shown_order}); restore the newest state, or restart the bootstrap to go on from this one"
        )
