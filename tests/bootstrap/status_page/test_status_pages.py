"""The web page's resources: files, events and look-ups of a cluster in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from bootstrap.opened_page import Browser, site_of
from twisted.internet.defer import Deferred, succeed

from pyshard.bootstrap.move_driver import MoveDriver
from pyshard.bootstrap.reconciler import ShardReconciler
from pyshard.bootstrap.status_page.status_pages import FILES, opened_by_address
from pyshard.errors import PyshardError, WrongShard
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_answers import ITEM
from pyshard.protocol.batch_operations import ReadItem
from pyshard.protocol.listed_moves import ListedMove
from pyshard.security.tokens_and_roles import parse
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

SCRIPT = "<script>alert(1)</script>"
READER = {"Authorization": "Bearer readers-secret-16"}


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """Two shards without tokens."""
    with MemoryCluster() as made:
        yield made


def looked_up(cluster: MemoryCluster, key: str, index: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
    """Code and answer of a look-up."""
    browser = Browser(site_of(cluster), "/look-up", Look_Up_Key=key, Look_Up_Index=index, **headers)
    cluster.advance(0)
    if not browser.heard:
        cluster.advance(settings.LOOK_UP)
    return browser.code, json.loads(browser.body)


# -- the files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES)
def test_files(cluster: MemoryCluster, path: bytes) -> None:
    """Each file of the page is installed, and is for everybody; scripts and what is loaded are the page's own."""
    cluster.tokens = None
    browser = Browser(site_of(cluster), f"/{path.decode()}")
    assert browser.code == 200
    assert f"Content-Type: {FILES[path][1].decode()}\r\n" in browser.heard
    assert "X-Content-Type-Options: nosniff\r\n" in browser.heard
    policy = re.search("Content-Security-Policy: (.*)\r\n", browser.heard)
    assert policy is not None
    assert policy[1].startswith("default-src 'self'; ")
    assert "unsafe" not in policy[1]
    assert "frame-ancestors 'none'" in policy[1]
    found = browser.body.replace("http://www.w3.org/2000/svg", "")
    assert len(found) > 100
    for other in ("http:", "https:", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "onclick"):
        assert other not in found
    assert re.search(r"style=|<script>|<style|\son\w+=", found) is None


def test_the_stream_is_ended() -> None:
    """However following the events ends, also by an error in the page, their connection is ended: there are few."""
    from importlib.resources import files

    script = (files("pyshard.bootstrap.status_page") / "assets" / "page.js").read_text(encoding="utf-8")
    follow = script.partition("async function follow() {")[2].partition("\n}\n")[0]
    assert "own.abort();" in follow.rpartition("finally {")[2]


def test_ids() -> None:
    """Each element that the script asks for is on the page."""
    from importlib.resources import files

    folder = files("pyshard.bootstrap.status_page") / "assets"
    page, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.js"))
    ids = re.findall(r'\bid="([\w-]+)"', page)
    assert len(set(ids)) == len(ids)
    asked = set(re.findall(r'\bone\("([\w-]+)"\)', script))
    assert len(asked) > 20
    assert asked <= set(ids)
    referred = re.findall(r'(?:aria-labelledby|for|list|href)="#?([\w-]+)"', page)
    assert set(referred) <= set(ids)


# -- events --------------------------------------------------------------------------------------------------------


def test_events(cluster: MemoryCluster) -> None:
    """What is known comes at once, and then each second, with the shards' figures."""
    client = cluster.connect()
    browser = Browser(site_of(cluster), "/events")
    assert browser.code == 200
    assert "Content-Type: text/event-stream" in browser.heard
    assert [shard["name"] for shard in browser.events[0]["shards"]] == ["shard0", "shard1"]
    assert browser.events[0]["totals"]["known_shards"] == 0
    cluster.run(client.write_many((f"key{number}", number) for number in range(20)))
    cluster.advance(3.5)
    newest = browser.events[-1]
    assert 4 <= len(browser.events) <= 6
    assert newest["totals"]["documents"] == 20
    assert newest["totals"]["known_shards"] == newest["ready_shards"] == 2
    assert newest["totals"]["rate"] > 0
    assert newest["rates"][-1][1] > 0
    assert newest["indexes"] == [{"name": "", "documents": 20}]
    browser.leave()


def test_one_look_a_second(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is put together once for each event, however many pages are open."""
    listed = MoveDriver.listed
    looks: list[float] = []

    def counted(self: MoveDriver) -> list[ListedMove]:
        looks.append(cluster.clock.seconds())
        return listed(self)

    monkeypatch.setattr(MoveDriver, "listed", counted)
    site = site_of(cluster)
    browsers = [Browser(site, "/events") for _ in range(3)]
    opened = len(looks)
    cluster.advance(10.5)
    assert opened == len(browsers)
    assert len(looks) - opened == len(browsers[0].events) - 1 == 11
    for browser in browsers:
        browser.leave()


def test_nobody_looks(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards are asked while the page is open, by one timer however many pages there are, and not before or after."""
    asked: list[str] = []
    ask = ShardReconciler.ask_statistics

    def counted(self: ShardReconciler) -> Deferred[bytes]:
        asked.append(self.shard)
        return ask(self)

    monkeypatch.setattr(ShardReconciler, "ask_statistics", counted)
    site = site_of(cluster)
    cluster.advance(5)
    assert asked == []
    browsers = []
    for _ in range(3):
        browsers.append(Browser(site, "/events"))
        cluster.advance(0.4)
    cluster.advance(8.3)
    assert len(asked) == 20
    for browser in browsers:
        browser.leave()
    cluster.advance(5)
    assert len(asked) == 20
    again = Browser(site, "/events")
    cluster.advance(0.5)
    assert len(asked) == 22
    assert len(again.events[-1]["rates"]) > 5  # those of before
    again.leave()


def test_a_slow_shard(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up nobody: the other one's figures come, and it is told to be slow. It isn't asked twice at once."""
    waiting: list[Deferred[bytes]] = []
    ask = ShardReconciler.ask_statistics

    def slow(self: ShardReconciler) -> Deferred[bytes]:
        if self.shard == "shard1":
            return ask(self)
        waiting.append(Deferred())
        return waiting[-1]

    monkeypatch.setattr(ShardReconciler, "ask_statistics", slow)
    browser = Browser(site_of(cluster), "/events")
    cluster.advance(6.5)
    first, second = browser.events[-1]["shards"]
    assert (first["state"], second["state"]) == ("slow", "ready")
    assert "documents" not in first
    assert second["documents"] == 0
    assert len(waiting) == 1
    waiting.pop().callback(b"what no shard tells")
    cluster.advance(1)
    assert browser.events[-1]["shards"][0]["why"].startswith("what it tells can't be read")
    browser.leave()


def test_a_shard_that_is_down_and_comes_back(cluster: MemoryCluster) -> None:
    """Its state changes, and its figures go and come."""
    browser = Browser(site_of(cluster), "/events")
    cluster.advance(2)
    cluster.kill_shard("shard0")
    cluster.advance(2)
    assert [shard["state"] for shard in browser.events[-1]["shards"]] == ["down", "ready"]
    cluster.start_shard("shard0")
    cluster.advance(4)
    assert [shard["state"] for shard in browser.events[-1]["shards"]] == ["ready", "ready"]
    browser.leave()


# -- the look-up ---------------------------------------------------------------------------------------------------


def test_look_up(cluster: MemoryCluster) -> None:
    """Where a key lies, and its document as text, whatever is in it; an index has other slots."""
    client = cluster.connect()
    cluster.run(client.create_index("people"))
    cluster.run(client.write("käse", {"text": SCRIPT, "data": b"\0\1"}))
    cluster.run(client.write("a", 1, index="people", ttl=60))
    code, found = looked_up(cluster, "k%C3%A4se")
    assert code == 200
    assert found["slot"] == slot_of("käse".encode())
    assert found["hash"] == found["slot"] / 1e7
    assert found["owner"] == cluster.map.lookup(found["slot"]).name
    assert json.loads(found["document"]) == {"text": SCRIPT, "data": {"$bytes": "AAE="}}
    assert found["expires_in"] is None
    code, found = looked_up(cluster, "a", "people")
    assert (found["document"], found["slot"]) == ("1", slot_of(b"a", b"people"))
    assert 50 < found["expires_in"] <= 60
    code, found = looked_up(cluster, "a")
    assert (code, found["found"]) == (200, False)


@pytest.mark.parametrize(
    ("key", "index", "error"),
    [
        ("%FF", "", "the key: expected percent-encoded UTF-8"),
        ("a", "none", "there is no index 'none'; create it first"),
        ("a", "%3Cscript%3E", "there is no index '<script>'; create it first"),
    ],
)
def test_look_up_of_nonsense(cluster: MemoryCluster, key: str, index: str, error: str) -> None:
    """It is refused with a reason."""
    assert looked_up(cluster, key, index) == (400, {"error": error})


def test_look_up_at_a_shard_that_is_away(cluster: MemoryCluster) -> None:
    """Where the key lies is told, with the reason why nothing else is; one that is silent has so many seconds."""
    own = cluster.map.lookup(slot_of(b"a"))
    cluster.network.silence(own.host, own.port)
    code, found = looked_up(cluster, "a")
    assert (code, found["owner"]) == (200, own.name)
    assert found["note"].endswith(f"shard {own.name!r} can't be asked: no answer within {settings.LOOK_UP:g} s")
    assert "found" not in found
    cluster.kill_shard(own.name)
    cluster.advance(5)
    assert "can't be reached now" in looked_up(cluster, "a")[1]["note"]


def test_look_up_of_a_key_that_has_just_moved(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its new owner is asked; what is refused again is told."""
    read = ShardReconciler.read_item
    refused: list[int] = []

    def moved(self: ShardReconciler, run: ReadItem) -> Deferred[bytes | PyshardError | None]:
        return succeed(WrongShard("it has moved")) if refused.pop() else read(self, run)

    monkeypatch.setattr(ShardReconciler, "read_item", moved)
    refused[:] = [0, 1]
    assert looked_up(cluster, "a")[1]["found"] is False
    refused[:] = [1, 1]
    assert looked_up(cluster, "a")[1]["note"] == "The shard doesn't give it now: it has moved"
    assert refused == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Deferred[bytes | PyshardError | None]]:
    """What shards were asked for keys; nothing is answered before the test does it."""
    made: list[Deferred[bytes | PyshardError | None]] = []

    def read(_: ShardReconciler, __: ReadItem) -> Deferred[bytes | PyshardError | None]:
        made.append(Deferred())
        return made[-1]

    monkeypatch.setattr(ShardReconciler, "read_item", read)
    return made


def test_one_key_of_a_shard_at_a_time(
    cluster: MemoryCluster, asked: list[Deferred[bytes | PyshardError | None]]
) -> None:
    """A second one waits while the first one is under way: an answer may be large. Another address's goes first."""
    site = site_of(cluster)
    own = [Browser(site, "/look-up", Look_Up_Key="a") for _ in range(3)]
    other = Browser(site, "/look-up", address="192.0.2.1", Look_Up_Key="a")
    for browser in (own[0], other, own[1], own[2]):
        assert browser.heard == ""
        asked.pop().callback(None)
        assert asked == []
        cluster.advance(0.1)
        assert json.loads(browser.body)["found"] is False
    assert asked == []


def test_look_ups_that_wait(cluster: MemoryCluster, asked: list[Deferred[bytes | PyshardError | None]]) -> None:
    """One that has waited for as long as it may is refused; one whose peer has left isn't begun."""
    site = site_of(cluster)
    first, second = (Browser(site, "/look-up", Look_Up_Key="a") for _ in range(2))
    cluster.advance(settings.LOOK_UP / 2)
    third = Browser(site, "/look-up", Look_Up_Key="a")
    cluster.advance(settings.LOOK_UP / 2)
    assert (first.heard, third.heard) == ("", "")
    assert second.code == 503
    assert json.loads(second.body) == {"error": "several keys are being looked up just now; try again"}
    third.leave()
    asked.pop().callback(None)
    cluster.advance(1)
    assert asked == []
    assert first.code == 200


def test_a_large_look_up_leaves_time(
    cluster: MemoryCluster, asked: list[Deferred[bytes | PyshardError | None]]
) -> None:
    """The next one begins some times as long after it as it took."""
    site = site_of(cluster)
    first, _ = (Browser(site, "/look-up", Look_Up_Key="a") for _ in range(2))
    asked.pop().callback(ITEM.pack(1, 0, 0) + bytes(16_000_000))
    assert first.code == 200
    cluster.advance(0.1)
    assert asked == []
    cluster.advance(0.1)
    assert len(asked) == 1


def test_tokens() -> None:
    """Where there are tokens, all but the files is for whoever presents one; a look-up takes role read."""
    with MemoryCluster(tokens=parse("admin admins-secret-16x\nread readers-secret-16\n")) as cluster:
        site = site_of(cluster)
        assert Browser(site, "/").code == 200
        for path in ("/events", "/look-up"):
            assert Browser(site, path).code == Browser(site, path, Authorization="Bearer x").code == 401
            assert Browser(site, path, "POST", **READER).code == 405
            assert Browser(site, path, "HEAD", **READER).code == 200
        assert looked_up(cluster, "a", **READER)[1]["found"] is False
        assert looked_up(cluster, "a", Host="name.example", **READER)[0] == 200
        browser = Browser(site, "/events", **READER)
        cluster.advance(2)
        assert len(browser.events) > 2
        cluster.tokens = parse("admin admins-secret-16x\n")
        cluster.advance(1)
        assert browser.heard.endswith("0\r\n\r\n")  # the end of the answer: its token isn't valid any more


def test_other_sites(cluster: MemoryCluster) -> None:
    """Without tokens, no page of the web that has its name lead here gets a document."""
    assert looked_up(cluster, "a", Host="evil.example:9100")[0] == 403
    for host in ("localhost:9100", "127.0.0.1", "[::1]:9100", "10.0.0.5:80"):
        assert looked_up(cluster, "a", Host=host)[0] == 200
    for other in (None, b"", b"localhost.evil.example", b"127.0.0.1.evil.example", b"1:2:3", b"\xff"):
        assert not opened_by_address(other)
