"""Write every airport of the airportsdata package into a cluster, read all of them back, and print how long it took.

Run a cluster as the README says, then:

    pip install airportsdata
    python examples/airports.py                     # the bootstrap is at localhost:9192
    python examples/airports.py 192.0.2.7:9192      # another bootstrap
    python examples/airports.py --replace           # again, replacing the airports of the first run
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import airportsdata
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.task import react

from pyshard import Client, Index, PyshardError, connect

# How many operations are in flight together. The client sends many of them to a shard in one message, so a thousand
# together are far faster than one after the other. All 28,000 together would only wait in memory.
IN_FLIGHT = 1000


class Problem(Exception):
    """An error that ends the program with its message."""


async def main(reactor: Any, server: str | None, replace: bool) -> None:
    """Connect, and do everything. An expected error ends the program with one line and exit code 1."""
    try:
        client = await connect(reactor, server)
        try:
            index = await new_index(client, "airports", replace)
            await load_and_check(index)
            await report(client)
        finally:
            await client.close()
    except (Problem, PyshardError) as error:
        sys.exit(f"airports: {error}")


async def new_index(client: Client, name: str, replace: bool) -> Index:
    """An empty index.

    :param replace: whether to drop an index of this name, if there is one.
    """
    index = client.index(name)
    if name in await client.indexes():
        if not replace:
            raise Problem(f"there is an index {name!r} already; --replace drops it with all its documents")
        await index.drop()
    await index.create()
    return index


async def load_and_check(index: Index) -> None:
    """Write every airport, then read every one and compare."""
    airports: Mapping[str, Any] = airportsdata.load()  # ICAO code → a dict: name, city, position and so on

    async def write(code: str) -> None:
        await index.write(code, airports[code])

    async def check(code: str) -> None:
        found = await index.read(code)
        if found is None or found["record"] != airports[code]:
            raise Problem(f"{code}: found {found}, expected {airports[code]}")

    print(f"wrote {len(airports):,} airports in {await seconds(write, airports):.2f} s")
    print(f"read {len(airports):,} airports in {await seconds(check, airports):.2f} s, all equal")


async def seconds(work: Callable[[str], Awaitable[None]], codes: Iterable[str]) -> float:
    """Call `work` with each code, `IN_FLIGHT` of them at a time; returns the seconds that it took."""
    began = time.monotonic()
    left = iter(codes)  # shared by all workers: each takes the next code when it is done with the last

    async def worker() -> None:
        for code in left:
            await work(code)

    try:
        await gatherResults([Deferred.fromCoroutine(worker()) for _ in range(IN_FLIGHT)], consumeErrors=True)
    except FirstError as first:  # gatherResults wraps a worker's error in it
        first.subFailure.raiseException()
    return time.monotonic() - began


async def report(client: Client) -> None:
    """Print how much each shard holds."""
    shards: Any = (await client.stat())["shards"]
    for shard in shards:
        print("{name} at {address}: {documents:,} documents, {bytes:,} of {limit:,} bytes".format(**shard))


if __name__ == "__main__":
    parser = ArgumentParser(description="Put every airport into a pyshard cluster and read each one back.")
    parser.add_argument("server", nargs="?", metavar="HOST:PORT", help="the bootstrap [default: localhost:9192]")
    parser.add_argument("--replace", action="store_true", help="drop the index of an earlier run first")
    given = parser.parse_args()
    react(main, (given.server, given.replace))
