"""The web page of a real cluster in Debian's Chromium: token, figures, look-up, a shard that goes down, a failover.

It is used by the keyboard, at widths from 360 to 1920 pixels.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from functional.cluster import HOST, NewCluster, until
from functional.headless_chromium import CHROMIUM, Chromium
from functional.replicated_cluster import NewReplicatedCluster
from ports import free_port

from pyshard import Pyshard

pytestmark = [pytest.mark.functional, pytest.mark.skipif(CHROMIUM is None, reason="Chromium isn't installed")]

SECRET = "a-readers-secret-of-20"
HOSTILE = "<img src=x onerror=alert(1)>"
LEASE = 4.0  # seconds: a failover takes longer than some events of the page
TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")


def test_page(new_cluster: NewCluster, tmp_path: Path) -> None:
    """It wants a token, shows what is there, finds a document, tells of a dead shard, and loads nothing else."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"admin an-admins-secret-of-20\nread {SECRET}\n")
    tokens.chmod(0o600)
    cluster = new_cluster(2, token_file=tokens)
    port = free_port()
    cluster.bootstrap.add_option(f"--http={HOST}:{port}")
    cluster.start()
    with Pyshard(cluster.server, token_file=tokens) as app:
        app.create_index("people")
        app.write_many({f"key {number}": number for number in range(100)})
        app.write(HOSTILE, {"text": HOSTILE})
    (profile := tmp_path / "profile").mkdir()
    with Chromium(profile) as browser:
        browser.resize(360, 800)
        browser.open(f"http://{HOST}:{port}/")
        browser.until("document.activeElement?.id === 'token' && !login.hidden && cluster.hidden")
        browser.write("a-wrong-secret-of-20")
        browser.press(*ENTER)
        browser.until("document.getElementById('login-error').textContent === 'That is no token of this cluster.'")
        browser.write(SECRET)
        browser.press(*ENTER)
        browser.until("document.querySelector('#total-documents').innerText.trim() === '101'")
        assert browser.value("[...document.querySelectorAll('#strip > div')].map((one) => one.innerText)") == ["a", "b"]
        states = "[...document.querySelectorAll('#shards tbody .state')].map((one) => one.innerText.trim())"
        assert browser.value(states) == ["ready", "ready"]
        for width in (360, 768, 1440, 1920):  # nothing hangs out at the side
            browser.resize(width, 800, dark=width == 768)
            assert browser.value("document.documentElement.scrollWidth") == width
        browser.value("document.getElementById('key').focus()")
        browser.write(HOSTILE)
        browser.press(*TAB)
        browser.press(*TAB)
        assert browser.value("document.activeElement.innerText") == "Look up"
        browser.press(*ENTER)
        browser.until(f"document.querySelector('#look-up pre')?.innerText.includes({HOSTILE!r})")
        cluster.shards[1].kill()
        browser.until(
            f"{states}[1] === 'down' && document.querySelector('#problems li').innerText.startsWith('b: down')"
        )
        assert browser.value("document.querySelectorAll('img').length") == 0
        assert [one for one in browser.requests if not one.startswith(f"http://{HOST}:{port}/")] == []
        assert [one for one in browser.requests if SECRET in one or "img" in one] == []
        assert [one for one in browser.complaints if "401" not in one] == []  # which the browser tells of by itself


STATE = "document.querySelector('#shards tbody .state .pill').innerText"
REPLICAS = """Object.fromEntries([...document.querySelectorAll('#replicas tbody tr:not(.group)')].map((row) => [
    row.cells[0].innerText.trim(), [row.cells[1].innerText.trim(), row.querySelector('.pill').innerText.trim()]]))"""

AGES = """Object.fromEntries([...document.querySelectorAll('#replicas tbody tr:not(.group)')].map((row) => [
    row.cells[0].innerText.trim(), row.cells[4].innerText.trim().replace(/^\\d+\\.\\d s$/, 's')]))"""


def test_failover(new_replicated_cluster: NewReplicatedCluster, tmp_path: Path) -> None:
    """The primary is killed: the page shows the failover, then the next primary, and all members, without a reload."""
    cluster = new_replicated_cluster(3, lease=LEASE)
    port = free_port()
    cluster.bootstrap.add_option(f"--http={HOST}:{port}")
    cluster.start()
    addresses = [f"{HOST}:{each.port}" for each in cluster.replicas]
    (profile := tmp_path / "profile").mkdir()
    with Chromium(profile) as browser:
        browser.resize(1280, 900)
        browser.open(f"http://{HOST}:{port}/")
        browser.until(f"document.querySelectorAll('#shards tbody tr').length === 1 && {STATE} === 'ready'")
        browser.value("marked = true")
        first = cluster.primary()
        at = f"{HOST}:{first.port}"
        before = {each: ["primary" if each == at else "member", "up"] for each in addresses}
        until(lambda: browser.value(REPLICAS) == before, "the page shows all members")
        old = {each: "–" if each == at else "s" for each in addresses}
        until(lambda: browser.value(AGES) == old, "the page shows how old what members show is")
        columns = browser.value("document.querySelectorAll('#replicas thead th').length")
        assert browser.value("document.querySelector('#replicas .group th').colSpan") == columns
        assert browser.value("document.getElementById('store-state').innerText") == "in reach"
        assert browser.value("document.getElementById('store-name').innerText").endswith("/etc/shards.state")
        first.kill()
        browser.until(f"{STATE} === 'failing over'")
        problem = "document.querySelector('#problems li').innerText"
        assert browser.value(problem).startswith("a: failing over")
        assert browser.value(f"{REPLICAS}[{at!r}]") == ["primary", "down"]
        browser.until(f"{STATE} === 'member missing'")
        second = cluster.primary()
        assert second is not first
        shown = browser.value(REPLICAS)
        assert shown[at] == ["learner", "down"]
        assert shown[f"{HOST}:{second.port}"] == ["primary", "up"]
        assert browser.value(problem).startswith("a: member missing")
        for width in (360, 768, 1280, 1920):  # nothing hangs out at the side
            browser.resize(width, 900, dark=width == 768)
            assert browser.value("document.documentElement.scrollWidth") == width
        first.start()
        browser.until(f"{STATE} === 'ready'")
        browser.until(f"{REPLICAS}[{at!r}].join() === 'member,up'")
        assert browser.value("document.querySelectorAll('#problems li').length") == 0
        assert browser.value("marked")  # it is the page that was opened
        assert browser.complaints == []


def test_no_state_yet(new_cluster: NewCluster, tmp_path: Path) -> None:
    """A bootstrap that can't reach its state store says so, and shows nothing else: its page is alive."""
    cluster = new_cluster(1)
    port, etcd = free_port(), f"etcd://{HOST}:{free_port()}/pyshard"
    cluster.bootstrap.add_option(f"--http={HOST}:{port}")
    cluster.bootstrap.add_option(f"--state={etcd}")
    cluster.bootstrap.start()
    cluster.bootstrap.wait_listening()
    (profile := tmp_path / "profile").mkdir()
    with Chromium(profile) as browser:
        browser.open(f"http://{HOST}:{port}/")
        browser.until("document.getElementById('health')?.innerText === 'No cluster state yet'")
        assert browser.value("document.querySelector('#problems li').innerText").startswith("state store: away")
        assert browser.value("document.querySelector('.store').innerText").split()[2:5] == ["etcd", "away", "for"]
        assert browser.value("document.getElementById('store-name').textContent") == etcd
        assert browser.value("document.getElementById('live').innerText") == "live"
        assert not browser.value("document.getElementById('shards').checkVisibility()")
        assert browser.complaints == []
