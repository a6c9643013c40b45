"""The web page of a real cluster in Debian's Chromium: token, figures, look-up, a shard that goes down, by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from functional.cluster import HOST, NewCluster
from functional.headless_chromium import CHROMIUM, Chromium
from ports import free_port

from pyshard import Pyshard

pytestmark = [pytest.mark.functional, pytest.mark.skipif(CHROMIUM is None, reason="Chromium isn't installed")]

SECRET = "a-readers-secret-of-20"
HOSTILE = "<img src=x onerror=alert(1)>"
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
