"""The checks of `doctor` on the cluster, by value: what passes, what is to be looked after, and what has failed."""

from __future__ import annotations

import attrs
import msgspec
import pytest

from pyshard.cli.doctor import cluster_checks as checks
from pyshard.cli.doctor.evidence import AddressEvidence, DaemonEvidence, Evidence, Told, ToldStateStore, daemon_evidence
from pyshard.cli.doctor.findings import CheckVerdict, Finding, worst
from pyshard.client_core.unreached_daemon import no_answer
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase, StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.listed_moves import ListedMove

PASS, WARN, FAIL = CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.FAIL
NOW = 1_800_000_000.0
DAY = 86_400.0

A = MapShard("a", ((0, SLOTS // 2),), 1000, "10.0.0.1", 5050, "aa" * 16)
B = MapShard("b", ((SLOTS // 2, SLOTS),), 1000, "10.0.0.2", 5050, "bb" * 16)
STATE = ClusterState("cc" * 16, 7, ShardMap([A, B]))


def shard(own: MapShard, **told: object) -> DaemonEvidence:
    """A shard that tells of itself, as it should be but for some of it."""
    good: dict[str, object] = {"version": "1", "time": NOW + 0.5, "id": own.identity, "epoch": 7}
    return daemon_evidence(f"shard {own.name}", own, good | told, NOW, NOW + 1)


_TOLD = {
    "version": "1",
    "time": NOW + 0.5,
    "epoch": 7,
    "state_store": {"name": "etc/shards.state", "away": 0, "error": ""},
}
BOOTSTRAP = daemon_evidence("the bootstrap", None, _TOLD, NOW, NOW + 1)
GOOD = Evidence(
    NOW,
    "1",
    state=STATE,
    daemons=(BOOTSTRAP, shard(A), shard(B)),
    addresses=(AddressEvidence("shard a", "10.0.0.1", ("10.0.0.1",)),),
    moves=(),
)


def with_shard(**told: object) -> Evidence:
    """A good cluster, but for what its shard b tells."""
    return attrs.evolve(GOOD, daemons=(BOOTSTRAP, shard(A), shard(B, **told)))


def verdicts(findings: list[Finding]) -> list[tuple[CheckVerdict, str]]:
    """Each verdict with its subject."""
    return [(finding.verdict, finding.subject) for finding in findings]


def test_a_good_cluster() -> None:
    """Each check passes with one line, and needs no cure."""
    for check in checks.CLUSTER_CHECKS[:-1]:  # no TLS, no certificates
        assert [(found.verdict, found.cure) for found in check(GOOD)] == [(PASS, "")]
    assert checks.certificates_last(GOOD) == []


@pytest.mark.parametrize(
    ("members", "hosts", "least", "expected", "text"),
    [
        (3, "xyz", 2, [PASS], "all 3 replicas have all documents"),
        (2, "xyz", 2, [WARN], "2 of 3 replicas have all documents; not so z:3 (7 groups behind)"),
        (2, "xyz", 3, [FAIL], "2 of 3 replicas have all documents, and it takes no changes below 3"),
        (3, "xxx", 2, [WARN], "all its replicas are on x"),
        (2, "xxx", 2, [WARN, WARN], "not so x:3"),
    ],
)
def test_replicas(members: int, hosts: str, least: int, expected: list[CheckVerdict], text: str) -> None:
    """A shard with fewer members than replicas survives one loss less; all on one host survive none of that."""
    replicas = tuple(MapReplica(host, number, StoreId(f"{number}d", "i")) for number, host in enumerate(hosts, 1))
    group = ReplicaGroup(5, replicas[0].address, frozenset(one.address for one in replicas[:members]), replicas, least)
    own = A.led_by_group(group)
    others = [{"address": replicas[2].address, "groups_behind": 7}]
    state = attrs.evolve(STATE, map=ShardMap([own, B]))
    found = attrs.evolve(GOOD, state=state, daemons=(BOOTSTRAP, shard(own, replica={"others": others}), shard(B)))
    findings = checks.replicas_are_there(found)
    assert [finding.verdict for finding in findings] == expected
    assert text in findings[0].text


def test_nothing_known() -> None:
    """Without a map that is said, and nothing else is claimed to pass."""
    found = Evidence(NOW, "1", map_error=str(no_answer("the bootstrap at h:1", 5, "connection refused")))
    assert [one for check in checks.CLUSTER_CHECKS for one in check(found)] == checks.map_found(found)
    [finding] = checks.map_found(found)
    assert (finding.verdict, finding.text) == (
        FAIL,
        "the bootstrap at h:1 gave no answer within 5 s: connection refused",
    )
    assert "--bootstrap" in finding.cure


def test_a_shard_that_is_away() -> None:
    """It is said, and the others are checked all the same."""
    away = DaemonEvidence("shard b", B, None, str(no_answer("shard b", 5, "connection refused")))
    found = attrs.evolve(GOOD, daemons=(BOOTSTRAP, shard(A, epoch=6), away))
    [finding] = checks.daemons_answer(found)
    assert (finding.verdict, finding.subject) == (FAIL, "shard b")
    assert finding.text == "gave no answer within 5 s: connection refused"
    assert verdicts(checks.epochs_agree(found)) == [(FAIL, "shard a")]


def test_a_host_without_an_address() -> None:
    """A name that nobody knows is named."""
    found = attrs.evolve(GOOD, addresses=(AddressEvidence("shard a", "nowhere", error="name not known"),))
    [finding] = checks.addresses_resolve(found)
    assert (finding.verdict, finding.text) == (FAIL, "nowhere can't be resolved: name not known")


@pytest.mark.parametrize(("told", "verdict"), [({"id": "ff" * 16}, FAIL), ({"id": ""}, FAIL), ({}, PASS)])
def test_identities(told: dict[str, object], verdict: CheckVerdict) -> None:
    """A shard with another store than the map has for it is wrong."""
    assert worst(checks.identities_agree(with_shard(**told))) is verdict


def test_no_store_yet() -> None:
    """A shard for which the bootstrap has found no store isn't served."""
    unknown = attrs.evolve(B, identity="")
    found = attrs.evolve(GOOD, daemons=(shard(A), shard(unknown)))
    assert verdicts(checks.identities_agree(found)) == [(FAIL, "shard b")]


@pytest.mark.parametrize(("epoch", "verdict"), [(7, PASS), (6, FAIL), (8, FAIL), (None, FAIL)])
def test_epochs(epoch: int | None, verdict: CheckVerdict) -> None:
    """Every shard has the bootstrap's epoch."""
    assert worst(checks.epochs_agree(with_shard(epoch=epoch))) is verdict


def test_epoch_of_the_bootstrap() -> None:
    """The bootstrap's own word counts where the map is older."""
    ahead = daemon_evidence("the bootstrap", None, {"epoch": 8}, NOW, NOW)
    found = attrs.evolve(GOOD, daemons=(ahead, shard(A), shard(B, epoch=8)))
    assert verdicts(checks.epochs_agree(found)) == [(FAIL, "shard a")]


@pytest.mark.parametrize(
    ("told", "own", "expected"),
    [
        ({}, "1", [(PASS, "")]),
        ({"version": "2"}, "1", [(WARN, "shard b")]),
        ({"version": ""}, "1", [(WARN, "shard b")]),
        ({}, "2", [(WARN, "this command")]),
    ],
)
def test_versions(told: dict[str, object], own: str, expected: list[tuple[CheckVerdict, str]]) -> None:
    """All daemons and this command have one version."""
    assert verdicts(checks.versions_agree(attrs.evolve(with_shard(**told), version=own))) == expected


@pytest.mark.parametrize(
    ("time", "verdict"),
    [(NOW + 0.5, PASS), (NOW + 1.9, PASS), (NOW - 0.9, PASS), (NOW + 2.1, WARN), (NOW - 1.1, WARN), (None, PASS)],
)
def test_clocks(time: float | None, verdict: CheckVerdict) -> None:
    """A clock is off by what lies outside of the time between question and answer."""
    assert worst(checks.clocks_agree(with_shard(time=time))) is verdict


@pytest.mark.parametrize(("time", "off"), [(10.0, 0.0), (12.0, 0.0), (11.0, 0.0), (15.0, 3.0), (7.0, -3.0)])
def test_skew(time: float, off: float) -> None:
    """A slow answer makes no clock wrong."""
    assert checks.skew(time, 10.0, 12.0) == off


@pytest.mark.parametrize(
    ("documents", "verdict"),
    [((0, 0), PASS), ((999, 0), PASS), ((1000, 0), WARN), ((500, 500), PASS), ((800, 400), PASS), ((801, 400), WARN)],
)
def test_spread_of_two(documents: tuple[int, int], verdict: CheckVerdict) -> None:
    """Of two shards one may have more than twice of what the other one has."""
    found = attrs.evolve(GOOD, daemons=(shard(A, documents=documents[0]), shard(B, documents=documents[1])))
    assert worst(checks.documents_spread(found)) is verdict


def test_spread_of_three() -> None:
    """A shard with far more than the mean of the others is named; one without ranges doesn't count."""
    third = MapShard("c", ((1, 2),), 1000, "10.0.0.3", 5050, "dd" * 16)
    empty = MapShard("d", (), 1000, "10.0.0.4", 5050, "ee" * 16)
    found = attrs.evolve(
        GOOD, daemons=(shard(A, documents=100), shard(B, documents=2000), shard(third, documents=100), shard(empty))
    )
    assert verdicts(checks.documents_spread(found)) == [(WARN, "shard b")]
    assert "'pyshard split b --to a'" in checks.documents_spread(found)[0].cure


MOVE = ListedMove(3, "a", "b", [(0.0, 0.1)], Phase.COPYING if hasattr(Phase, "COPYING") else next(iter(Phase)))


@pytest.mark.parametrize(
    ("move", "verdict"),
    [
        (MOVE, PASS),
        (attrs.evolve(MOVE, error="connection refused"), FAIL),
        (attrs.evolve(MOVE, paused=True), WARN),
        (attrs.evolve(MOVE, stalled=59.0), PASS),
        (attrs.evolve(MOVE, stalled=60.0), WARN),
        (attrs.evolve(MOVE, stalled=60.0, over=True), PASS),
        (attrs.evolve(MOVE, phase=Phase.CANCELLED, over=True, why="the copy differed three times"), WARN),
        (attrs.evolve(MOVE, phase=Phase.CANCELLED, over=True, why="an operator cancelled it"), PASS),
        (attrs.evolve(MOVE, over=True, error="connection refused"), PASS),
    ],
)
def test_moves(move: ListedMove, verdict: CheckVerdict) -> None:
    """A move that doesn't go on, is paused or was given up is named; what an operator cancelled is fine."""
    findings = checks.moves_go_on(attrs.evolve(GOOD, moves=(move,)))
    assert worst(findings) is verdict
    assert (verdict is PASS) or findings[0].subject == "move 3 from a to b"


def test_moves_unknown() -> None:
    """Moves that the bootstrap didn't tell are something to look after."""
    found = attrs.evolve(GOOD, moves=None, moves_error="it is away")
    assert verdicts(checks.moves_go_on(found)) == [(WARN, "")]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (None, []),
        (ToldStateStore("etcd://h1:2379/a"), [(PASS, "")]),
        (ToldStateStore("etcd://h1:2379/a", 7.2, "etcd at h1:2379: connection refused"), [(FAIL, BOOTSTRAP.name)]),
    ],
    ids=["an older bootstrap", "at hand", "away"],
)
def test_state_store(kept: ToldStateStore | None, expected: list[tuple[CheckVerdict, str]]) -> None:
    """A bootstrap that can't keep the cluster's state is named, and why."""
    assert BOOTSTRAP.told is not None
    bootstrap = attrs.evolve(BOOTSTRAP, told=msgspec.structs.replace(BOOTSTRAP.told, state_store=kept))
    findings = checks.state_is_kept(attrs.evolve(GOOD, daemons=(bootstrap,)))
    assert verdicts(findings) == expected
    if expected and expected[0][0] is FAIL:
        assert "etcd://h1:2379/a isn't of use for 7 s: etcd at h1:2379: connection refused" in findings[0].text


@pytest.mark.parametrize(("days", "verdict"), [(31, PASS), (29, WARN), (0, FAIL), (-3, FAIL)])
def test_certificates(days: float, verdict: CheckVerdict) -> None:
    """A certificate is renewed in time, a daemon's and this side's."""
    there = AddressEvidence("shard a", "10.0.0.1", ("10.0.0.1",), certificate_end=NOW + days * DAY)
    found = attrs.evolve(GOOD, tls=True, addresses=(there,))
    assert worst(checks.certificates_last(found)) is verdict
    own = attrs.evolve(GOOD, tls=True, addresses=(), own_certificate="own.pem", own_certificate_end=NOW + days * DAY)
    assert worst(checks.certificates_last(own)) is verdict


def test_no_certificate_seen() -> None:
    """Where no certificate was seen, none is said to be good, nor is any blamed."""
    down = AddressEvidence("shard a", "10.0.0.1", ("10.0.0.1",))
    assert checks.certificates_last(attrs.evolve(GOOD, tls=True, addresses=(down,))) == []


def test_certificate_that_is_not_trusted() -> None:
    """What isn't trusted has failed."""
    there = AddressEvidence("shard a", "10.0.0.1", ("10.0.0.1",), certificate_error="certificate has expired")
    found = attrs.evolve(GOOD, tls=True, addresses=(there,))
    assert verdicts(checks.certificates_last(found)) == [(FAIL, "shard a")]


@pytest.mark.parametrize(
    "stat", [{"documents": "many"}, {"time": []}, {"disk": {"free": 1}}, {"commits": {"seconds": {"counts": ["x"]}}}]
)
def test_what_a_daemon_tells_may_be_anything(stat: dict[str, object]) -> None:
    """What can't be read is an answer that is none."""
    found = daemon_evidence("shard a", A, stat, NOW, NOW)
    assert found.told is None
    assert found.error.startswith("what it tells can't be read: ")


def test_what_a_daemon_of_another_version_tells() -> None:
    """A daemon that tells less, or more, is read all the same."""
    assert daemon_evidence("shard a", A, {"documents": 3, "new": [1]}, NOW, NOW).told == Told(documents=3)
