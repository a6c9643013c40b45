"""Calls of etcd on a network in memory: which member is asked, what a failure means, logins, and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bootstrap.state_stores.fake_etcd import Deed, EtcdBench, answer
from bootstrap.states import STATE
from twisted.internet.defer import Deferred
from twisted.web.server import Request

from pyshard.bootstrap.state_stores import etcd_gateway
from pyshard.bootstrap.state_stores.etcd_gateway import ALL_WITHIN, ANSWERED_WITHIN
from pyshard.bootstrap.state_stores.state_store import NOTHING, Revision, SwapApplied
from pyshard.errors import ConfigError, OutcomeUnknown, Unavailable

STEP = 0.11  # seconds by which the clock goes on at a time, and some more for rounding
NEXT = STATE.with_index("links")


def hang_up(request: Request) -> None:
    """Close the connection without an answer."""
    request.loseConnection()


def late(bench: EtcdBench, code: int, text: bytes) -> Deed:
    """Answer something just before it would be too late for one exchange."""

    def deed(request: Request) -> None:
        answering = bench.clock.callLater(ANSWERED_WITHIN - 0.1, answer(code, text), request)
        request.notifyFinish().addErrback(lambda _: answering.cancel())

    return deed


def say_nothing(request: Request) -> None:
    """Leave the request open."""


def flood_body(request: Request) -> None:
    """Answer without an end."""
    for _ in range(300):
        request.write(b"x" * 100_000)


def flood_headers(request: Request) -> None:
    """Send headers without an end."""
    assert request.channel is not None
    for number in range(3000):
        request.channel.write(b"X-%d: %s\r\n" % (number, b"y" * 10_000))


FAILURES: dict[str, Deed] = {
    "hangs up": hang_up,
    "says nothing": say_nothing,
    "no leader": answer(503, b'{"error":"etcdserver: no leader","code":14}'),
    "timed out": answer(504, b'{"error":"context deadline exceeded","code":4}'),
    "another server": answer(502, b"<html>"),
    "an error in a right answer": answer(200, b'{"error":{"grpc_code":14,"message":"it stops"}}'),
    "a long body": flood_body,
    "long headers": flood_headers,
}


@pytest.fixture
def bench() -> EtcdBench:
    """Three members, with nothing in them."""
    return EtcdBench()


def test_the_next_member_is_asked(bench: EtcdBench) -> None:
    """One that can't be reached is left for the next one, and asked last from then on."""
    first = bench.put()
    del bench.network.listeners["etcd0", 2379]
    bench.network.cut("etcd0", 2379)
    bench.network.settle()
    assert isinstance(bench.run(bench.store.swap(NEXT, first, "a-2")), SwapApplied)
    bench.run(bench.store.get())
    bench.run(bench.store.get())
    assert {member for member, _ in bench.etcd.asked} == {1}


@pytest.mark.parametrize("name", FAILURES)
def test_a_question_goes_to_the_next_member(bench: EtcdBench, name: str) -> None:
    """Whatever the first one does in place of an answer; the next time it isn't the first one any more."""
    bench.put()
    bench.do(0, FAILURES[name])
    found = bench.run(bench.store.get())
    assert found is not None
    assert found.state == STATE
    assert name == "says nothing" or bench.clock.seconds() < ANSWERED_WITHIN
    assert [member for member, _ in bench.etcd.asked] == [0, 1]
    bench.run(bench.store.get())
    assert [member for member, _ in bench.etcd.asked] == [0, 1, 1]


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("name", FAILURES)
def test_a_swap_whose_answer_is_lost_is_unknown(bench: EtcdBench, name: str, done: bool) -> None:
    """It isn't sent to another member by itself. Tried again as it is, it says what became of it."""
    first = bench.put()
    bench.do(0, FAILURES[name])
    bench.etcd.done_first = done
    with pytest.raises(OutcomeUnknown, match="etcd at etcd0:2379: "):
        bench.run(bench.store.swap(NEXT, first, "a-2"))
    assert [member for member, _ in bench.etcd.asked] == [0]
    assert len({revision for revision, _ in bench.etcd.stored.values()} - {first}) == done
    outcome = bench.run(bench.store.swap(NEXT, first, "a-2"))
    assert isinstance(outcome, SwapApplied)
    found = bench.run(bench.store.get())
    assert found is not None
    assert (found.state, found.revision, found.write) == (NEXT, outcome.revision, "a-2")
    assert bench.etcd.revision == first + 1


def test_an_answer_that_can_not_be_read(bench: EtcdBench) -> None:
    """To a question it is no answer, to a swap it leaves the outcome unknown."""
    first = bench.put()
    nonsense = (b"", b"[]", b'{"header":{}}', b'{"header":{"revision":"x"},"succeeded":true}', b'{"kvs":[{}]}')
    for text in nonsense[:2] + nonsense[4:]:
        bench.do(0, answer(200, text))
        with pytest.raises(Unavailable, match="can't be read"):
            bench.run(bench.store.get())
    for text in nonsense[:4]:
        bench.do(0, answer(200, text))
        with pytest.raises(OutcomeUnknown, match="can't be read"):
            bench.run(bench.store.swap(NEXT, first, "a-2"))
    bench.do(0, answer(200, b'{"header":{"revision":"3"},"responses":[]}'))
    with pytest.raises(OutcomeUnknown, match="doesn't say what is there"):
        bench.run(bench.store.swap(NEXT, first, "a-2"))


@pytest.mark.parametrize(
    "text", [b'{"kvs":[' + b"{}," * 2000 + b"{}]}", b'{"error":[' + b"[]," * 2000 + b"[]]}", b"[" * 2000]
)
def test_an_answer_of_many_elements(bench: EtcdBench, text: bytes) -> None:
    """It isn't decoded, whatever it is: also not to find out whether it is an error."""
    first = bench.put()
    bench.do(0, answer(200, text))
    with pytest.raises(Unavailable, match=r"can't be read: it has about [24],00[0-9] elements, expected at most 1,000"):
        bench.run(bench.store.get())
    bench.do(0, answer(500, text))
    bench.do(1, answer(200, text.replace(b"kvs", b"responses")))
    with pytest.raises(OutcomeUnknown, match="HTTP status 500"):
        bench.run(bench.store.swap(NEXT, first, "a-2"))


def test_nobody_answers(bench: EtcdBench) -> None:
    """A swap that nobody was asked for hasn't happened; the message names a member, and why."""
    first = bench.put()
    bench.network.listeners.clear()
    for host, port in bench.members:
        bench.network.cut(host, port)
    bench.network.settle()
    with pytest.raises(Unavailable, match=r"^etcd at etcd\d:2379: connection refused$"):
        bench.run(bench.store.get())
    with pytest.raises(Unavailable, match="connection refused"):
        bench.run(bench.store.swap(NEXT, first, "a-2"))
    bench.run(bench.store.wait(first))


def test_all_tries_have_an_end(bench: EtcdBench) -> None:
    """Members that say nothing don't take more than some seconds together."""
    bench.put()
    for member in range(3):
        bench.do(member, say_nothing)
    before = bench.clock.seconds()
    with pytest.raises(Unavailable, match="no answer within 1 s"):
        bench.run(bench.store.get())
    assert bench.clock.seconds() - before <= ALL_WITHIN + STEP


@pytest.mark.parametrize("within", [0.5, 3, ALL_WITHIN])
@pytest.mark.parametrize("swap", [True, False])
def test_nothing_goes_on_past_its_end(credentials: Path, swap: bool, within: float) -> None:
    """Neither another exchange with the same member, nor a login, nor the next member."""
    bench = EtcdBench(credentials)
    bench.etcd.token = "first"
    revision = bench.put()
    expired = late(bench, 401, b'{"error":"etcdserver: invalid auth token","code":16}')
    login = late(bench, 200, b'{"token":"first"}')
    no_leader = late(bench, 503, b'{"error":"etcdserver: no leader","code":14}')
    deeds = [expired, login, no_leader] * 3
    bench.etcd.deeds = dict.fromkeys(range(3), deeds)
    end = bench.clock.seconds() + within
    asked: Deferred[Any] = bench.store.swap(NEXT, revision, "a-2", end) if swap else bench.store.get(end)
    with pytest.raises((Unavailable, OutcomeUnknown), match="no answer within"):
        bench.run(asked)
    assert bench.clock.seconds() <= end + STEP


def test_nothing_is_asked_past_its_end(bench: EtcdBench) -> None:
    """So nothing has happened."""
    revision = bench.put()
    for end in (0, bench.clock.seconds()):
        with pytest.raises(Unavailable, match="etcd: no time was left to ask it"):
            bench.run(bench.store.get(end))
        with pytest.raises(Unavailable, match="etcd: no time was left to ask it"):
            bench.run(bench.store.swap(NEXT, revision, "a-2", end))
    assert bench.etcd.asked == []


def test_no_time_is_left_after_a_while(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the disk takes it, with the file for the login. Nothing was sent, so nothing has happened."""
    bench = EtcdBench(credentials)
    bench.etcd.token = "first"

    def read_slowly(*_: object) -> bytes:
        bench.clock.advance(1)
        return b"pyshard:secret"

    monkeypatch.setattr(etcd_gateway, "read_secret", read_slowly)
    with pytest.raises(Unavailable, match="etcd at etcd0:2379: no time was left to ask it"):
        bench.run(bench.store.swap(STATE, NOTHING, "a-1", 1))
    assert bench.etcd.asked == []


@pytest.mark.parametrize(
    "text",
    [
        b'{"error":"etcdserver: permission denied","code":7}',
        b'{"error":"etcdserver: request is too large","code":3}',
        b'{"error":"etcdserver: mvcc: database space exceeded","code":8}',
    ],
)
def test_what_etcd_refuses(bench: EtcdBench, text: bytes) -> None:
    """Nothing has happened then, no other member is asked, and its words are told."""
    first = bench.put()
    refused = "etcd at etcd0:2379 refuses: etcdserver: "
    bench.do(0, answer(400, text))
    with pytest.raises(ConfigError, match=refused):
        bench.run(bench.store.get())
    bench.do(0, answer(400, text))
    with pytest.raises(ConfigError, match=refused):
        bench.run(bench.store.swap(NEXT, first, "a-2"))
    assert [member for member, _ in bench.etcd.asked] == [0, 0]


def test_something_else_under_the_key(bench: EtcdBench) -> None:
    """It is told, and nothing takes its place."""
    for text, reason in (
        (b"hello", "something else than a cluster's state"),
        (b'{"format":1,"write":"a","state":{}}', "something else than a cluster's state"),
        (b'{"format":9,"write":"a","state":{}}', "of format 9; this version knows format 1"),
    ):
        bench.etcd.put(bench.key, text)
        with pytest.raises(ConfigError, match=f"^etcd://etcd0:2379,etcd1:2379,etcd2:2379/test: .*{reason}"):
            bench.run(bench.store.get())
        with pytest.raises(ConfigError, match=reason):
            bench.run(bench.store.swap(NEXT, NOTHING, "a-2"))


# -- logins ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A file with user and password."""
    path = tmp_path / "etcd-credentials"
    path.touch(0o600)
    path.write_text("pyshard:secret\n")
    return path


def test_login(credentials: Path) -> None:
    """There is one, as long as it is valid; a new one when etcd wants it, with what the file has then."""
    bench = EtcdBench(credentials)
    bench.etcd.token = "first"
    bench.put()
    bench.run(bench.store.get())
    assert bench.etcd.asked == [(0, "/v3/kv/range")]
    bench.etcd.token, bench.etcd.user["password"] = "second", "new:one"
    credentials.write_text("pyshard:new:one")
    bench.run(bench.store.swap(NEXT, Revision(2), "a-2"))
    assert [path for _, path in bench.etcd.asked[1:]] == ["/v3/kv/txn", "/v3/auth/authenticate", "/v3/kv/txn"]
    bench.do(0, answer(400, b'{"error":"etcdserver: revision of auth store is old","code":3}'))
    bench.run(bench.store.get())


def test_wrong_password(credentials: Path) -> None:
    """Neither message nor log has it."""
    bench = EtcdBench(credentials)
    bench.etcd.token, bench.etcd.user["password"] = "first", "another"
    with pytest.raises(ConfigError, match="refuses: authentication failed") as refused:
        bench.run(bench.store.get())
    assert "secret" not in str(refused.value)


def test_no_login_where_one_is_wanted() -> None:
    """The option is named."""
    bench = EtcdBench()
    bench.etcd.token = "first"
    with pytest.raises(ConfigError, match="invalid auth token; name user and password by --state-credentials"):
        bench.run(bench.store.get())


@pytest.mark.parametrize("text", ["", "pyshard", "pyshard:", ":secret", "pyshard:secret\nmore"])
def test_files_that_are_no_credentials(credentials: Path, text: str) -> None:
    """What is expected is said, and what was found isn't."""
    credentials.write_text(text)
    with pytest.raises(ConfigError, match=r"etcd-credentials: expected one line, USER:PASSWORD$"):
        EtcdBench(credentials).run(EtcdBench(credentials).store.get())
