"""A shard's AMP protocol: each responder decodes, calls the `Shard`, and encodes. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pyshard.errors import PermissionDenied, PyshardError
from pyshard.metrics.batch_counts import BatchSizes
from pyshard.model import cluster_state_json
from pyshard.net.command_connection import DirectResponder, Responder
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import answers_bytes, apply_arguments, long_answer_bytes, takes_stale
from pyshard.protocol.batch_answers import Answer, encode_answers
from pyshard.protocol.batch_encoding import decode_readers_runs, decode_runs
from pyshard.protocol.batch_operations import Run, changes, count_of
from pyshard.protocol.boxes import LONGEST_VALUE, Box
from pyshard.protocol.change_pages import encode_changes, encode_group
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.protocol.command_boxes import SHARD, Command
from pyshard.protocol.move_reports import encode_reports
from pyshard.protocol.pages import Row, decode_ranges, encode_keys, encode_ranges, encode_rows
from pyshard.protocol.row_digests import decode_indexes, encode_buckets
from pyshard.security.tokens_and_roles import Role
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.settings import settings
from pyshard.shard.batch_front import front_of
from pyshard.shard.connection_sender import ConnectionSender
from pyshard.shard.open_snapshots import OpenSnapshots
from pyshard.shard.replica_responders import ReplicaResponders
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.served_replicas import refuse_replica
from pyshard.shard.shard import Shard
from pyshard.shard.shard_moves import ShardMoves
from pyshard.shard.shard_stat import shard_stat
from pyshard.shard.slow_operations import SlowOperationLog, watched
from pyshard.shard.snapshot_limits import SnapshotPeer
from pyshard.storage import ITSELF, Page, Sender, Task
from pyshard.storage.durable.update_size import update_size

_T = TypeVar("_T")


class ShardProtocol(ServerConnection):
    """One connection to a shard.

    :param shard: what answers.
    :param snapshots: the shard's open ones.
    :param followers: those of the shard.
    :param moves: those of the shard.
    :ivar slow: logs what takes long; None: that isn't logged.
    """

    kind = SHARD

    def __init__(
        self,
        shard: Shard,
        snapshots: OpenSnapshots,
        followers: ServedFollowers,
        moves: ShardMoves,
        factory: ServerFactory,
        clock: IReactorTime,
        slow: SlowOperationLog | None = None,
    ) -> None:
        self._shard = shard
        self.slow = slow
        self._snapshots = snapshots
        self._followers = followers
        self._moves = moves
        self._sender: Sender = ITSELF
        super().__init__(factory, clock)

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [
            *super().responders(),
            (commands.Hello, cls.hello),
            (commands.GetMap, cls.get_map),
            (commands.Configure, cls.configure),
            (commands.Stat, cls.stat),
            watched(commands.Keys, cls.keys),
            watched(commands.Count, cls.count),
            watched(commands.OpenSnapshot, cls.open_snapshot),
            watched(commands.ReadSnapshot, cls.read_snapshot),
            (commands.CloseSnapshot, cls.close_snapshot),
            (commands.OpenCopy, cls.open_copy),
            (commands.ReadCopy, cls.read_copy),
            (commands.CloseCopy, cls.close_copy),
            (commands.ReadGroups, cls.read_groups),
            (commands.OpenDigest, cls.open_digest),
            (commands.ReadDigest, cls.read_digest),
            (commands.ReadDigestRows, cls.read_digest_rows),
            (commands.ForgetFollower, cls.forget_follower),
            (commands.ReportMoves, cls.report_moves),
            *ReplicaResponders.responders(cls._replica_responders),
        ]

    @classmethod
    def direct_responders(cls) -> Iterable[tuple[bytes, DirectResponder]]:
        return [(commands.Apply.commandName, (cls.apply, cls.applied))]

    def _replica_responders(self) -> ReplicaResponders:
        return ReplicaResponders(self._shard, self._followers, self, self._sender, self.hold_rest)

    def connectionMade(self) -> None:
        self._sender = ConnectionSender.of(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._snapshots.close_all(self)
        self._followers.close_all(self)
        self._moves.carriers.forget(self)
        if self._shard.replica is not None:
            self._shard.replica.lost(self)
        sender, self._sender = self._sender, ITSELF  # it has this connection, which is let go at once
        super().connectionLost(reason)
        if self._shard.parked is not None:
            self._shard.parked.forget(sender)
        if self._shard.replica is not None:
            self._shard.replica.forget(sender)

    def hello(self, protocol: int, session: bytes | None) -> Deferred[Arguments]:
        return self.join_session(session).addCallback(lambda _: self._greeting())

    def get_map(self) -> Arguments:
        return {"state": cluster_state_json.to_json(self._shard.configured().state)}

    def configure(self, name: str, state: bytes) -> Deferred[Arguments]:
        return self._shard.configure(name, self._shard.states.read(state)).addCallback(lambda _: {})

    def apply(self, box: Box) -> Deferred[list[Answer]]:
        try:
            return self._apply_batch(*apply_arguments(box), takes_stale(box))
        except PyshardError:
            self.waited = 0.0  # that was for this batch, and not for the next one
            raise

    def _apply_batch(self, epoch: int, batch: bytes, stale: bool) -> Deferred[list[Answer]]:
        slow = self.slow
        if self.role is not None and self.role < Role.WRITE:
            readers = decode_readers_runs(batch)
            applied = self._apply_permitted(epoch, readers, self.role, len(batch), stale)
            return applied if slow is None else slow.watch(self, applied, readers, len(batch))
        runs = decode_runs(batch)
        self.operations += count_of(runs)
        try:
            applied = self._apply_front(epoch, runs, len(batch), stale)
        except PyshardError:
            self._shard.counts.add_failed(runs)
            raise
        answers = applied.result if applied.called else None
        if type(answers) is list and not applied.paused:  # most are answered at once, and need no callback for it
            took = self._clock.seconds() - self.heard
            self._shard.counts.add(runs, answers, took)
            if slow is None or (not self.waited and took < slow.limit):  # as `watch` finds it, without a call
                return applied
        else:
            applied = self._counted(runs, applied)
        return applied if slow is None else slow.watch(self, applied, runs, len(batch))

    def applied(self, answers: list[Answer], tag: bytes) -> bytes:
        epoch = (self._shard.assignment or self._shard.configured()).state.epoch
        results = answers[0].results if len(answers) == 1 and not answers[0].errors else ()
        if len(results) == 1 and isinstance(result := results[0], bytes) and len(result) > LONGEST_VALUE:
            return long_answer_bytes(epoch, result, tag)
        return answers_bytes(epoch, encode_answers(answers), tag)

    def _counted(self, runs: list[Run], applied: Deferred[list[Answer]]) -> Deferred[list[Answer]]:
        """Count a batch when it is answered."""
        return applied.addBoth(self._count, self._shard.counts.sizes(runs), self.heard)

    def _count(self, outcome: _T, sizes: BatchSizes, began: float) -> _T:
        self._shard.counts.add_outcome(sizes, outcome, self._clock.seconds() - began)
        return outcome

    def _apply_front(self, epoch: int, runs: list[Run], size: int, stale: bool) -> Deferred[list[Answer]]:
        """Apply as much of a batch as one step may have.

        :param size: bytes that its keys have at the most.
        :param stale: whether what a batch finds that only reads may be a little old.
        """
        most, operations = settings.BATCH_KEY_BYTES, settings.STALE_OPERATIONS if stale else settings.MAX_BATCH
        front = front_of(runs, most, operations) if size > most or stale else None
        if front is None:
            return self._apply_runs(epoch, runs, size, stale)
        return self._apply_runs(epoch, front.runs, size, stale).addCallback(front.merge)

    def _apply_runs(self, epoch: int, runs: list[Run], size: int, stale: bool) -> Deferred[list[Answer]]:
        if not (changes(runs[0]) if len(runs) == 1 else any(map(changes, runs))):
            read = (self._shard.apply_stale if stale else self._shard.apply)(epoch, runs, self._sender)
            if read.called and not read.paused:
                return read
            return self.held_until(read, update_size([Task(run, 0, ()) for run in runs])[0])  # it is decoded already
        owed, writers, sender = self._shard.will_give(runs), self._followers.writers, self._sender
        copied = partial(self._shard.will_copy, runs)
        begun = writers.serve(runs, size, lambda: self._shard.apply(epoch, runs, sender), sender.address, copied)
        applied = self.changes.add(begun)
        return self.count_owed(applied, owed) if owed else applied

    def _apply_permitted(
        self, epoch: int, runs: list[Run | int], role: Role, size: int, stale: bool
    ) -> Deferred[list[Answer]]:
        """Apply the runs that change nothing; the others are refused, each operation by itself.

        A client's operations share batches, and one that it may not do must not stop those that it may.

        :param runs: of one that would change something, only how many operations it has.
        :param size, stale: as of `_apply_front`.
        """
        denied = PermissionDenied(f"this wants a token of role write; this client's has role {role.word}")
        reading = [run for run in runs if not isinstance(run, int)]
        refused = sum([run for run in runs if isinstance(run, int)])
        self.operations += refused + sum([len(run.keys) for run in reading])

        def all_of(answers: list[Answer]) -> list[Answer]:
            self._shard.counts.refusals[denied.code] += refused
            given = iter(answers)
            return [Answer.refusing(run, denied) if isinstance(run, int) else next(given) for run in runs]

        return self._counted(reading, self._apply_front(epoch, reading, size, stale)).addCallback(all_of)

    def keys(self, epoch: int, index: str, slot: int, after: bytes | None) -> Deferred[Arguments]:
        self.operations += 1
        asked, began = self._shard.keys(epoch, index, slot, after, self._sender), self.heard

        def answer(page: Page) -> Arguments:
            self._shard.counts.key_pages.add(self._clock.seconds() - began)
            known, keys = self._shard.configured().state.epoch, encode_keys(page.keys)
            return {"epoch": known, "keys": keys, "end": page.slot, "more": page.more, "after": page.after}

        return asked.addCallback(answer)

    def count(self, epoch: int, index: str, slot: int) -> Deferred[Arguments]:
        self.operations += 1
        return self._shard.count(epoch, index, slot, self._sender).addCallback(
            lambda found: {
                "epoch": self._shard.configured().state.epoch,
                "documents": found[0],
                "ranges": encode_ranges(found[1]),
            }
        )

    def stat(self) -> Arguments:
        return {"stat": msgspec.json.encode(shard_stat(self._shard, self._snapshots, self._followers, self.factory))}

    def open_snapshot(self, stale: bool | None) -> Deferred[Arguments]:
        peer, replica = SnapshotPeer(self.origin, self.role is Role.ADMIN), self._shard.replica
        if stale and replica is not None and not replica.leads:
            replica.check_read()  # now, as the snapshot is taken now
            opening = self._snapshots.open(self, peer)
        else:
            opening = self._shard.gated(lambda: self._snapshots.open(self, peer), self._sender)
        return opening.addCallback(
            lambda opened: {"snapshot": opened.id, "documents": opened.documents, "epoch": opened.epoch}
        )

    def read_snapshot(self, snapshot: str) -> Deferred[Arguments]:
        began = self.heard

        def answer(page: list[Row]) -> Arguments:
            self._shard.counts.snapshot_pages.add(self._clock.seconds() - began)
            return {"rows": encode_rows(page)}

        return self._snapshots.read(self, snapshot).addCallback(answer)

    def close_snapshot(self, snapshot: str) -> Arguments:
        self._snapshots.close(self, snapshot)
        return {}

    def open_copy(self, follower: str, ranges: bytes) -> Deferred[Arguments]:
        followers, wanted = self._followers, decode_ranges(ranges)
        opened = self._gated(lambda: followers.open_copy(self, follower, wanted))
        return opened.addCallback(lambda copy: {"copy": copy.id, "head": encode_group(copy.head), "bytes": copy.size})

    def read_copy(self, copy: str) -> Deferred[Arguments]:
        read = Deferred.fromCoroutine(self._followers.read_copy(self, copy))
        return read.addCallback(lambda page: {"changes": encode_changes(page)})

    def close_copy(self, copy: str) -> Arguments:
        self._followers.close_copy(self, copy)
        return {}

    def moves_no_more(self) -> None:
        self._moves.carriers.forget(self)

    def read_groups(self, follower: str, after: int, ranges: bytes, offset: int) -> Deferred[Arguments]:
        shard = self._shard
        self._moves.carriers.follows(self, follower)
        if shard.replica is not None:
            shard.replica.check_leads()
        asked = (self, follower, after, decode_ranges(ranges), offset, self.hold_rest)
        read = Deferred.fromCoroutine(self._followers.groups(*asked))
        return read.addCallback(lambda found: {"groups": found[0], "more": found[1], "newest": shard.store.committed})

    def open_digest(self, follower: str, ranges: bytes) -> Deferred[Arguments]:
        followers, wanted = self._followers, decode_ranges(ranges)
        opened = self._gated(lambda: followers.open_digest(self, follower, wanted))
        return opened.addCallback(lambda digest: {"digest": digest[0], "head": encode_group(digest[1])})

    def read_digest(self, digest: str, indexes: bytes) -> Deferred[Arguments]:
        read = Deferred.fromCoroutine(self._followers.read_digest(self, digest, decode_indexes(indexes)))
        return read.addCallback(
            lambda found: {
                "rows": found.rows,
                "buckets": b"" if found.buckets is None else encode_buckets(found.buckets),
            }
        )

    def read_digest_rows(self, digest: str) -> Deferred[Arguments]:
        read = Deferred.fromCoroutine(self._followers.read_digest_rows(self, digest))
        return read.addCallback(lambda page: {"changes": encode_changes(page)})

    def forget_follower(self, follower: str) -> Arguments:
        refuse_replica(follower)
        self._followers.forget(follower)
        return {}

    def report_moves(self) -> Deferred[Arguments]:
        self._moves.carriers.asks(self)
        self._moves.update()  # also if it may report nothing
        reports = self._shard.gated(lambda: succeed(self._moves.reports()), self._sender)
        return reports.addCallback(lambda found: {"reports": encode_reports(found)})

    def _gated(self, begin: Callable[[], Coroutine[Any, Any, _T]]) -> Deferred[_T]:
        return self._shard.gated(lambda: Deferred.fromCoroutine(begin()), self._sender)

    def _greeting(self) -> Arguments:
        assignment, store = self._shard.assignment, self._shard.store
        return {
            "protocol": commands.PROTOCOL,
            "role": self.kind,
            "identity": store.identity,
            "cluster": assignment.state.cluster if assignment else "",
            "name": assignment.name if assignment else "",
            "epoch": assignment.state.epoch if assignment else 0,
            "ephemeral": store.ephemeral,
            "connection": self.id,
            "incarnation": store.incarnation,
        }
