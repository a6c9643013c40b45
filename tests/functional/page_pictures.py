"""Takes pictures of the web page at several widths, light and dark: of three shards, and of a shard with replicas.

Those of three shards are taken while a range moves, and when one is down. Those with replicas are taken before, during
and after a failover.

Run by hand, with the tests' folder on the path: ``python -m functional.page_pictures FOLDER``. The picture of the
documentation is one of them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

from functional.cluster import HOST, Cluster, clean_environment
from functional.headless_chromium import Chromium
from functional.replicated_cluster import ReplicatedCluster
from ports import free_port

from pyshard import Pyshard

_WIDTHS = (1440, 360, 768, 1280, 1920)  # the first one is that of the documentation
_LEASE = 20.0  # seconds
_DOCUMENTS = 20_000


def main(folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with tempfile.TemporaryDirectory(prefix="pyshard-") as place:
        _picture_shards(folder, Path(place), environment)
    with tempfile.TemporaryDirectory(prefix="pyshard-") as place:
        _picture_replicas(folder, Path(place), environment)


def _picture_shards(folder: Path, place: Path, environment: Mapping[str, str]) -> None:
    """Start three shards, fill them, move a range, and kill one."""
    cluster = Cluster(place, environment, 3, durable=True)
    for one, size in zip(cluster.config, (21 << 19, 96 << 20, 48 << 20), strict=True):
        one["size"] = size
    cluster.write_config()
    with _opened(cluster, place) as browser:
        browser.until("document.querySelectorAll('#shards tbody tr').length === 3 && shown.rates.length > 25")
        browser.value("key.value = 'greeting'; document.querySelector('#look-up-form button').click()")
        browser.until("document.querySelector('#look-up pre') !== null")
        command = [sys.executable, "-m", "pyshard", "move", "0.4:0.5", "--to", "c", f"--bootstrap={cluster.server}"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        browser.until("shown.moves.length === 1 && shown.moves[0].bytes > 0")
        _take(browser, folder, "moving")
        cluster.shards[1].kill()
        browser.until("document.querySelector('#problems li') !== null")
        _take(browser, folder, "down")
        browser.value("askToken('')")
        _take(browser, folder, "token")


def _picture_replicas(folder: Path, place: Path, environment: Mapping[str, str]) -> None:
    """Start a shard with three replicas, kill the primary, and wait for the next one. A long lease gives the time."""
    cluster = ReplicatedCluster(place, environment, 3, lease=_LEASE)
    with _opened(cluster, place) as browser:
        browser.until("document.querySelectorAll('#replicas .pill.good').length === 4 && shown.rates.length > 8")
        _take(browser, folder, "replicas")
        cluster.primary().kill()
        state = "document.querySelector('#shards .state .pill').innerText"
        browser.until(f"{state} === 'failing over'")
        _take(browser, folder, "failover")
        assert browser.value(state) == "failing over", "the lease is too short for so many pictures"
        browser.until(f"{state} === 'member missing'")
        _take(browser, folder, "after-failover")


@contextmanager
def _opened(cluster: Cluster, place: Path) -> Iterator[Chromium]:
    """A browser with the page of a cluster that is started, filled, and at work."""
    port = free_port()
    cluster.bootstrap.add_option(f"--http={HOST}:{port}")
    stopped = threading.Event()
    try:
        cluster.start()
        _fill(cluster)
        worker = threading.Thread(target=_work, args=(cluster, stopped))
        worker.start()
        with Chromium(place / "profile") as browser:
            browser.resize(1440, 900)
            browser.open(f"http://{HOST}:{port}/")
            yield browser
    finally:
        stopped.set()
        for daemon in cluster.daemons:
            daemon.kill()


def _take(browser: Chromium, folder: Path, name: str) -> None:
    for width in _WIDTHS:
        for dark in (False, True):
            browser.resize(width, 900, dark=dark)
            browser.value("new Promise((done) => setTimeout(done, 300))")
            height = browser.value("Math.ceil(document.documentElement.scrollHeight)")
            browser.resize(width, height, dark=dark)
            picture = folder / f"{name}-{width}-{'dark' if dark else 'light'}.png"
            picture.write_bytes(browser.picture())
    browser.resize(1440, 900)


def _fill(cluster: Cluster) -> None:
    random = Random(0)
    with Pyshard(cluster.server) as app:
        for index in ("people", "visits"):
            app.create_index(index)
        app.write_many((f"key {number}", {"number": number, "text": "x" * 1200}) for number in range(_DOCUMENTS))
        visits = app.index("visits")
        visits.write_many((f"visit {number}", {"at": random.random()}) for number in range(_DOCUMENTS // 2))
        app.write("greeting", {"text": "hello world", "likes": ["tea", "rain"]})


def _work(cluster: Cluster, stopped: threading.Event) -> None:
    random = Random(1)
    with Pyshard(cluster.server, deadline=0.5) as app:
        while not stopped.is_set():
            keys = [f"key {int(random.betavariate(2, 5) * _DOCUMENTS)}" for _ in range(random.randrange(5, 60))]
            try:
                app.get_many(keys)
            except Exception:  # noqa: BLE001  # a shard is down in some of the pictures
                stopped.wait(0.2)
            stopped.wait(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
