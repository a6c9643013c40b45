"""The script that `original` runs with the original pyshard 0.2.3: its daemons, and a client that is timed.

Arguments: ``shard PORT START END``, ``bootstrap PORT CONFIG``, or ``client PORT``. The client reads a line of JSON
for each loop, and answers with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import pyshard

_HOST = "127.0.0.1"
_INDEX = "pages"


def serve(kind: str, port: int, arguments: list[str]) -> None:
    """Run a shard or the bootstrap until the process is ended."""
    original: Any = pyshard
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    if kind == "shard":
        start, end = map(float, arguments)
        server = original.ShardServer(_HOST, port, start=start, end=end, loop=loop)
    else:
        server = original.BootstrapServer(_HOST, port, 1024, loop, config_path=arguments[0])
    loop.run_until_complete(server._do_run())


def ask(port: int) -> None:
    """Do the loops that standard input asks for, until it ends."""
    original: Any = pyshard
    app = original.Pyshard([_HOST, port])
    try:
        app.create_index(_INDEX)
    except Exception as error:  # its own class of errors isn't exported
        if "pages" not in str(error):
            raise
    for line in sys.stdin:
        question = json.loads(line)
        values = []
        begin = time.perf_counter()
        if "read" in question:
            read = app.read
            values = [read(_INDEX, key).result for key in question["read"]]
        else:
            write = app.write
            for key, doc in question["write"]:
                write(_INDEX, key, doc)
        seconds = time.perf_counter() - begin
        # What it reads is a document with its hash.
        documents = [value and value["record"] for value in values]
        print(json.dumps({"seconds": seconds, "values": documents}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "client":
        ask(int(sys.argv[2]))
    else:
        serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
