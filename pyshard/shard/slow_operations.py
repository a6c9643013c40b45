"""A shard's log of operations that took long: what they were, how large, and where their time went.

Rules:

- A line names verbs, numbers, an index of the cluster and the connection; never a key, a document or a token.
- The time counts from when the connection had to wait for its turn, until the answer is there: with the wait for the
  disk, without the time on the wire.
- There is one line a second at the most, and a few more after a quiet time. The next one says how many were left out.
- Where a batch is answered at once, this costs a look at the clock: about half a microsecond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pyshard.metrics.line_pace import LinePace
from pyshard.net.command_connection import Responder
from pyshard.protocol.batch_operations import Run, verb_of
from pyshard.protocol.command_boxes import Command
from pyshard.server.accepted_connection import AcceptedConnection

if TYPE_CHECKING:
    from pyshard.shard.protocol import ShardProtocol

_LINES = 1.0  # a second
_REFUSED = "refused"  # what stands for the verb of runs that weren't decoded, since the peer's role doesn't permit them

_T = TypeVar("_T")


def verbs_of(runs: Sequence[Run | int]) -> Mapping[str, int]:
    """How many operations of each verb a batch has.

    :param runs: of one that is refused, only how many operations it has.
    """
    found: Counter[str] = Counter()
    for run in runs:
        if isinstance(run, int):
            found[_REFUSED] += run
        else:
            found[verb_of(run)] += len(run.keys)
    return found


def index_of(runs: Sequence[Run | int]) -> str | None:
    """The index of a batch; None: there are several."""
    names = {run.index for run in runs if not isinstance(run, int)}
    return names.pop() if len(names) == 1 else None


class SlowOperationLog:
    """The log of one shard.

    :param clock: the reactor.
    :param limit: seconds from which on an operation is slow.
    :param known: whether the cluster has an index of that name; another name isn't logged, since a peer made it up.
    :ivar seconds: gives the time.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, limit: float, known: Callable[[str], bool] = lambda _: False) -> None:
        self.seconds = clock.seconds
        self.limit = limit
        self._known = known
        self._pace = LinePace(_LINES)

    def watch(
        self, connection: AcceptedConnection, work: Deferred[_T], runs: Sequence[Run | int], size: int
    ) -> Deferred[_T]:
        """Log a batch if it is slow. It was taken up when its connection was heard last.

        :param work: fires when it is answered.
        :param size: its bytes.
        :return: the same Deferred.
        """
        began, waited = connection.heard, connection.waited
        if waited:
            connection.waited = 0.0
        if work.called and not work.paused:
            worked = self.seconds() - began
            if waited + worked >= self.limit:
                self._tell(connection, verbs_of(runs), index_of(runs), size, waited, worked)
            return work
        # What is told of it now, so that nothing here keeps the documents.
        return work.addBoth(self._answered, connection, verbs_of(runs), index_of(runs), size, waited, began)

    def watch_command(
        self, connection: AcceptedConnection, verbs: Mapping[str, int], function: Callable[[], object]
    ) -> Deferred[object]:
        """Have a command answered that isn't a batch, and log it if it is slow.

        :param verbs: its name, once.
        :param function: answers it.
        """
        began = self.seconds()
        waited, connection.waited = connection.waited, 0.0
        return maybeDeferred(function).addBoth(self._answered, connection, verbs, None, 0, waited, began)

    def _answered(
        self,
        outcome: _T,
        connection: AcceptedConnection,
        verbs: Mapping[str, int],
        index: str | None,
        size: int,
        waited: float,
        began: float,
    ) -> _T:
        worked = self.seconds() - began
        if waited + worked >= self.limit:
            self._tell(connection, verbs, index, size, waited, worked)
        return outcome

    def _tell(
        self,
        connection: AcceptedConnection,
        verbs: Mapping[str, int],
        index: str | None,
        size: int,
        waited: float,
        worked: float,
    ) -> None:
        more = self._pace.ending(self.seconds())
        if more is None:
            return
        named = index is not None and self._known(index)
        counts = ", ".join(f"{count:,} × {verb}" for verb, count in verbs.items())
        of = f" of index {index!r}" if named else ""
        sized = f", {size:,} bytes" if size else ""
        self._log.warn(
            "connection {connection} from {peer}: slow: {what}; it waited {waited:,} ms for its turn, and "
            "was answered after {worked:,} ms{more}",
            connection=connection.id,
            peer=connection.peer,
            what=f"{counts}{of}{sized}",
            operations=sum(verbs.values()),
            bytes=size,
            index=index if named else None,
            waited=round(1000 * waited),
            worked=round(1000 * worked),
            more=more,
        )


def watched(command: type[Command], function: Responder) -> tuple[type[Command], Responder]:
    """A command that isn't a batch, and what answers it, watched as a batch is.

    :param function: answers it, given the connection.
    """
    verbs = {command.commandName.decode(): 1}

    def answer(connection: ShardProtocol, **arguments: object) -> object:
        slow, answer_it = connection.slow, partial(function, connection, **arguments)
        return answer_it() if slow is None else slow.watch_command(connection, verbs, answer_it)

    return command, answer
