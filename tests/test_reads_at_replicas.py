"""Reads at the nearest replica, in a cluster in memory: members answer them, and the primary whatever they don't."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from moving import DurableStores
from stores import folder
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from pyshard.client_core.nearest_replica import MEASURED_EVERY, PATIENCE
from pyshard.errors import NotConfigured, PermissionDenied
from pyshard.model.replica_group import ReplicaGroup
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import answers_in, apply_box
from pyshard.protocol.batch_answers import Answer, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Read, Run, Write
from pyshard.replication.group_times import of_lease
from pyshard.security.tokens_and_roles import Role, Token, Tokens
from pyshard.shard.shard import Shard
from pyshard.testing import MemoryCluster

LEASE = 1.0
BOUND = of_lease(LEASE).staleness

#: Calls a verb of a client, and lets time pass until that is done.
Reader = Callable[..., Any]


def group_of(cluster: MemoryCluster) -> ReplicaGroup:
    """The group of the only shard."""
    (shard,) = cluster.state.map.shards
    assert shard.group is not None
    return shard.group


def shard_at(cluster: MemoryCluster, address: str) -> Shard:
    """The process at an address."""
    name = next(name for name, (host, port) in cluster.processes.items() if f"{host}:{port}" == address)
    return cluster.services[name].shard


def name_at(cluster: MemoryCluster, address: str) -> str:
    """The name of the process at an address."""
    return next(name for name, (host, port) in cluster.processes.items() if f"{host}:{port}" == address)


def wait_whole(cluster: MemoryCluster) -> None:
    """Let time pass until all replicas are members, and know it."""
    for _ in range(100):
        if not group_of(cluster).learners:
            cluster.advance(1.0)
            return
        cluster.advance(0.1)
    raise AssertionError(f"these are no members after 10 s: {group_of(cluster).learners}")


@pytest.fixture(params=["memory", "durable"])
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """A shard with three replicas, all of which are members."""
    with folder() as path:
        store = None if request.param == "memory" else DurableStores(path).open
        with MemoryCluster(1, replicas=3, lease=LEASE, store=store) as made:
            wait_whole(made)
            yield made


@pytest.fixture(params=["deferred", "blocking"])
def read(request: pytest.FixtureRequest, cluster: MemoryCluster) -> Reader:
    """A client that reads at the nearest replica, and knows which one that is."""
    if request.param == "deferred":
        client = cluster.connect(read_from="nearest")

        def call(verb: str, *given: Any, **named: Any) -> Any:
            return cluster.run(getattr(client, verb)(*given, **named))
    else:
        app = cluster.blocking(read_from="nearest")

        def call(verb: str, *given: Any, **named: Any) -> Any:
            return getattr(app, verb)(*given, **named)

    for _ in range(3):
        call("has", "no such key")
        cluster.advance(0.01)
    return call


def reads_of(cluster: MemoryCluster, work: Callable[[], Any]) -> tuple[dict[str, int], Any]:
    """How many operations each replica has served for something, those that served none left out; and what it gave."""
    before = {address: shard_at(cluster, address).operations for address in addresses(cluster)}
    found = work()
    counts = {address: shard_at(cluster, address).operations - before[address] for address in before}
    return {address: count for address, count in counts.items() if count}, found


def addresses(cluster: MemoryCluster) -> list[str]:
    """Those of all replicas."""
    return [replica.address for replica in group_of(cluster).replicas]


def nearest(cluster: MemoryCluster, read: Reader) -> str:
    """The address of the member at which a client reads."""
    (address,), _ = reads_of(cluster, lambda: read("has", "no such key"))
    assert address in group_of(cluster).others
    return address


def hear_nothing(cluster: MemoryCluster, address: str, monkeypatch: pytest.MonkeyPatch, bootstrap: bool = True) -> None:
    """Have a member hear nothing of its primary any more.

    :param bootstrap: whether it hears nothing of the bootstrap either.
    """
    shard = shard_at(cluster, address)
    assert shard.replica is not None
    assert shard.replica._connection is not None
    monkeypatch.setattr(shard.replica._connection[1], "pull", lambda _: Deferred())
    cluster.advance(0)
    if bootstrap:
        monkeypatch.setattr(shard, "configure", lambda *_: Deferred())


def test_members_answer(cluster: MemoryCluster, read: Reader) -> None:
    """Every verb that only reads is answered by the same member, also of many and of large documents."""
    writer = cluster.connect()
    cluster.run(writer.write_many({f"key {number}": "x" * 4000 for number in range(1000)}))
    cluster.advance(1.0)
    member = nearest(cluster, read)
    known: list[tuple[str, str, object]] = [
        ("get", "key 1", "x" * 4000),
        ("has", "key 1", True),
        ("has", "nothing", False),
        ("get", "nothing", None),
    ]
    for verb, key, expected in known:
        counts, found = reads_of(cluster, partial(read, verb, key))
        assert (found, counts) == (expected, {member: 1})
    counts, found = reads_of(cluster, lambda: read("item", "key 2"))
    assert (found["record"], counts) == ("x" * 4000, {member: 1})
    keys = [f"key {number}" for number in range(1100)]
    counts, found = reads_of(cluster, lambda: read("get_many", keys))
    assert found == ["x" * 4000] * 1000 + [None] * 100
    assert counts.keys() == {member}
    counts, found = reads_of(cluster, lambda: read("has_many", keys))
    assert found == [True] * 1000 + [False] * 100
    assert counts.keys() == {member}


def test_what_the_primary_is_asked(cluster: MemoryCluster, read: Reader) -> None:
    """Changes, and reads that a change follows; counts, keys and items, so that none is left out."""
    primary = group_of(cluster).primary
    assert nearest(cluster, read) != primary
    known: list[tuple[str, list[Any], object]] = [
        ("write", ["key", 1], 28),
        ("update", ["key", lambda value: value + 1], 2),
        ("add", ["key", 3], False),
        ("increment", ["key"], 3),
        ("count", [], 1),
    ]
    for verb, given, expected in known:
        counts, found = reads_of(cluster, partial(read, verb, *given))
        assert (found, list(counts)) == (expected, [primary])


def test_items_are_the_primarys(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document isn't left out that a member doesn't have yet."""
    app = cluster.blocking(read_from="nearest")
    app.has("no such key")
    hear_nothing(cluster, nearest(cluster, lambda verb, key: getattr(app, verb)(key)), monkeypatch)
    app.write("new", 1, deadline=20)
    assert app.get("new") is None
    assert list(app.items()) == [("new", 1)]
    assert list(app.keys()) == ["new"]


def test_items_are_the_primarys_with_deferreds(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same."""
    client = cluster.connect(read_from="nearest")
    for _ in range(3):
        cluster.run(client.has("no such key"))
        cluster.advance(0.01)
    hear_nothing(cluster, nearest(cluster, lambda verb, key: cluster.run(getattr(client, verb)(key))), monkeypatch)
    cluster.run(client.write("new", 1, deadline=20))
    assert cluster.run(client.get("new")) is None
    assert cluster.run(client.items().next_page()) == [("new", 1)]
    assert cluster.run(client.keys().next_page()) == ["new"]


def test_a_member_that_is_cut_off(cluster: MemoryCluster, read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers with what it has, until that is too old. Then the primary does, and nothing stale is read any more."""
    writer = cluster.connect()
    cluster.run(writer.write("key", "old"))
    cluster.advance(1.0)
    member = nearest(cluster, read)
    hear_nothing(cluster, member, monkeypatch)
    cluster.run(writer.write("key", "new", deadline=20))
    written = cluster.clock.seconds()
    assert member not in group_of(cluster).members
    found = []
    while cluster.clock.seconds() < written + 2 * BOUND:
        began = cluster.clock.seconds()
        value = read("get", "key")
        found.append(value)
        assert value == "new" or began <= written + BOUND
        cluster.advance(0.1)
    assert found[0] == "old", "a read at a member may be stale"
    assert found == sorted(found, reverse=True), "and no more, once it isn't"
    with pytest.raises(NotConfigured, match="s old, and reads at replicas are at most 2 s old"):
        cluster.run(shard_at(cluster, member).apply_stale(cluster.state.epoch, [Read("", [b"key"])]))


def test_what_is_not_committed(cluster: MemoryCluster, read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member shows a change when all members have it, and not before."""
    writer = cluster.connect()
    cluster.run(writer.write("key", "old"))
    cluster.advance(1.0)
    member = nearest(cluster, read)
    (other,) = group_of(cluster).others - {member}
    hear_nothing(cluster, other, monkeypatch)
    written = writer.write("key", "new", deadline=20)
    cluster.advance(0.2)
    store = shard_at(cluster, member).store
    assert store.position.sequence > store.committed, "it has the change"
    assert (read("get", "key"), written.called) == ("old", False)
    cluster.run(written)
    cluster.advance(1.0)
    assert read("get", "key") == "new"


def test_a_learner_answers_nothing(cluster: MemoryCluster) -> None:
    """Whoever asks it, whether it has a copy or not, until it is a member; then it has what there is."""
    writer = cluster.connect()
    cluster.run(writer.write_many({f"key {number}": number for number in range(100)}))
    address = min(group_of(cluster).others)
    name = name_at(cluster, address)
    cluster.kill_shard(name)
    cluster.run(writer.write("key 0", -1, deadline=20))
    assert address not in group_of(cluster).members
    cluster.start_shard(name)
    shard, why, found = cluster.services[name].shard, set(), list[object]()

    def refused(failure: Failure) -> None:
        failure.trap(NotConfigured)
        why.add(str(failure.value))

    def answered(answers: Any) -> None:
        assert address in group_of(cluster).members
        found.append(answers[0].results[0])

    for _ in range(2000):
        if shard.assignment is not None:
            epoch = shard.assignment.state.epoch
            shard.apply_stale(epoch, [Read("", [b"key 0"])]).addCallbacks(answered, refused)
        if found:
            break
        cluster.advance(0.005)
    assert found[0] is not None
    assert "this replica hasn't all documents of the shard yet; ask the primary" in why


@pytest.mark.parametrize("how", ["killed", "silent"])
def test_a_member_that_is_gone(cluster: MemoryCluster, read: Reader, how: str) -> None:
    """The primary answers soon, within a short deadline, too; and the member again when it is back."""
    read("write", "key", 1)
    cluster.advance(1.0)
    member = nearest(cluster, read)
    host, port = member.split(":")
    if how == "killed":
        cluster.kill_shard(name_at(cluster, member))
    else:
        cluster.network.silence(host, int(port))
    for deadline in (10.0, 0.5):
        began = cluster.clock.seconds()
        assert read("get", "key", deadline=deadline) == 1
        assert cluster.clock.seconds() - began < min(PATIENCE, deadline) + 0.5
    assert read("get_many", ["key", "nothing"]) == [1, None]
    if how == "killed":
        cluster.start_shard(name_at(cluster, member))
    else:
        cluster.network.unsilence(host, int(port))
    wait_whole(cluster)
    cluster.advance(MEASURED_EVERY)
    for _ in range(5):
        read("has", "key")
        cluster.advance(0.1)
    assert nearest(cluster, read)


def test_reads_go_on_while_no_one_leads(cluster: MemoryCluster, read: Reader) -> None:
    """A member answers while the primary's place is empty, until what it has is too old."""
    read("write", "key", 1)
    cluster.advance(1.0)
    member = nearest(cluster, read)
    cluster.stop_bootstrap()
    cluster.kill_shard(name_at(cluster, group_of(cluster).primary))
    began = cluster.clock.seconds()
    while cluster.clock.seconds() < began + BOUND / 2:
        counts, found = reads_of_running(cluster, member, lambda: read("get", "key"))
        assert (found, counts) == (1, 1)
        cluster.advance(0.1)
    cluster.start_bootstrap()
    assert read("get", "key", deadline=20) == 1


def reads_of_running(cluster: MemoryCluster, address: str, work: Callable[[], Any]) -> tuple[int, Any]:
    """As `reads_of`, of one replica."""
    shard = shard_at(cluster, address)
    before = shard.operations
    found = work()
    return shard.operations - before, found


def test_with_a_token_to_read() -> None:
    """A client that may read alone reads at members, too, and still changes nothing there."""
    secrets = {role: f"the-secret-of-{role.word}-tokens".encode() for role in Role}
    tokens = Tokens(tuple(Token(role, secret) for role, secret in secrets.items()))
    with MemoryCluster(1, replicas=3, lease=LEASE, tokens=tokens) as cluster:
        wait_whole(cluster)
        cluster.run(cluster.connect(secret=secrets[Role.WRITE]).write("key", 1))
        cluster.advance(1.0)
        client = cluster.connect(secret=secrets[Role.READ], read_from="nearest")

        def read(verb: str, *given: Any) -> Any:
            return cluster.run(getattr(client, verb)(*given))

        for _ in range(3):
            read("has", "key")
            cluster.advance(0.01)
        member = nearest(cluster, read)
        counts, found = reads_of(cluster, lambda: read("get_many", ["key", "nothing"]))
        assert (found, list(counts)) == ([1, None], [member])
        with pytest.raises(PermissionDenied):
            read("write", "key", 2)


def test_a_shard_without_replicas() -> None:
    """It is read as ever."""
    with MemoryCluster(2) as plain:
        client = plain.connect(read_from="nearest")
        plain.run(client.write_many({"test": 1, "test1": 2}))
        assert plain.run(client.get_many(["test", "test1"])) == [1, 2]
        app = plain.blocking(read_from="nearest")
        assert (app.get("test"), app.get_many(["test", "test1"])) == (1, [1, 2])


def test_primaries_alone_by_default(cluster: MemoryCluster) -> None:
    """A client that isn't told to reads at the primary."""
    client, app = cluster.connect(), cluster.blocking()
    for _ in range(3):
        for ask in (lambda: cluster.run(client.has("key")), lambda: app.has("key")):
            counts, _ = reads_of(cluster, ask)
            assert counts == {group_of(cluster).primary: 1}
        cluster.advance(MEASURED_EVERY)


def test_stat(cluster: MemoryCluster) -> None:
    """The primary tells how old what each member shows is, and how old that may be; each member does of itself."""
    cluster.advance(3.0)
    client = cluster.connect()
    found: Any = cluster.run(client.stat())
    told = found["shards"][0]["replica"]
    assert told["most_stale"] == BOUND
    assert [0 <= other["stale"] <= LEASE for other in told["others"]] == [True, True]
    for address in group_of(cluster).others:
        own = shard_at(cluster, address).replica
        assert own is not None
        figures = own.stat()["replica"]
        assert (figures["most_stale"], 0 <= figures["stale"] <= LEASE) == (BOUND, True)  # type: ignore[index]


def sent_to(cluster: MemoryCluster, address: str, runs: list[Run], stale: bool) -> Answer:
    """What a replica answers to a batch of one run."""
    host, port = address.split(":")
    factory = Factory.forProtocol(lambda: DialedConnection(cluster.clock))
    connection = cluster.run(cluster.network.dial(host, int(port)).connect(factory))
    assert isinstance(connection, DialedConnection)
    box = apply_box(cluster.state.epoch, encode_runs(runs), stale)
    answer = cluster.run(connection.call_directly(commands.Apply.commandName, box))
    (found,) = decode_answers(answers_in(answer), runs)
    return found


def test_the_caller_says_it(cluster: MemoryCluster) -> None:
    """A member refuses whoever doesn't say that it takes what is old, and whatever changes something. The primary asks
    for neither."""
    primary, member = group_of(cluster).primary, min(group_of(cluster).others)
    reading, changing = [Read("", [b"key"])], [Write("", [b"key"], [b"\x01\x00\x00\x00\x1c\x01"])]
    for runs, stale in ((reading, False), (changing, True), (changing, False)):
        with pytest.raises(NotConfigured):
            sent_to(cluster, member, [*runs], stale)
    assert sent_to(cluster, member, [*reading], True) == Answer([None], {})
    assert sent_to(cluster, primary, [*changing], True) == Answer([True], {})
    for stale in (False, True):
        assert sent_to(cluster, primary, [*reading], stale).results != [None]
