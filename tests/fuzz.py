"""The fuzz tests for as long as you like: python tests/fuzz.py --boxes 1000000 --seed 7 (CONTRIBUTING.md)."""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from arena import BOOTSTRAP, OTHER, SHARD, arena, hostile, under_lies

RECEIVERS = ["shard", "durable", "bootstrap", "guarded", "client"]


def resident() -> int:
    """Bytes of memory that this process has, without what its C library keeps of what was freed."""
    with suppress(AttributeError):  # of GNU's alone
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def attack(receiver: str, boxes: int, seed: int) -> None:
    """Send so many boxes to one kind of receiver; tell how it went."""
    random, began, told, before = Random(seed), time.monotonic(), 0.0, 0
    addresses = (
        [BOOTSTRAP] if receiver == "bootstrap" else [SHARD, OTHER, BOOTSTRAP] if receiver == "guarded" else [SHARD]
    )
    with arena("lmdb" if receiver == "durable" else "memory", receiver == "guarded", seed) as made:
        who = hostile(made, random)
        while who.boxes < boxes:
            role = random.choice(["", "read", "backup", "write", "admin"]) if receiver == "guarded" else ""
            pieces = who.attack()
            try:
                made.leave(made.attack(random.choice(addresses), pieces, role))
                made.check()
            except BaseException:
                sys.stderr.write(f"{receiver}, {role}: {b''.join(pieces)[:1000]!r}\n{made.problems.found}\n")
                raise
            before = before or (resident() if who.boxes > boxes / 10 else 0)
            if time.monotonic() - told > 10 or who.boxes >= boxes:
                told, grown = time.monotonic(), (resident() - (before or resident())) / 1024**2
                seconds = told - began
                say(f"{receiver}: {who.boxes:,} boxes, {seconds:.0f} s, {grown:+.1f} MiB since the first tenth")


def lie(rounds: int, seed: int) -> None:
    """Tell a client and the daemons lies, in so many clusters; tell how it went."""
    outcomes: Counter[str] = Counter()
    for number in range(rounds):
        random = Random(seed + number)
        address, share, everybody = (
            random.choice([SHARD, BOOTSTRAP]),
            random.choice([0.05, 0.3, 1]),
            random.random() < 0.3,
        )
        try:
            with arena(seed=seed + number) as made:
                outcomes += under_lies(made, address, random, share, everybody)
        except BaseException:
            sys.stderr.write(f"client: seed {seed + number}\n")
            raise
    say(f"client: {rounds:,} clusters, {outcomes.total():,} calls: {dict(outcomes.most_common(5))}")


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--boxes", type=int, default=100_000, help="to each receiver; for clients a thousandth of clusters"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--receiver", choices=RECEIVERS, action="append", help="default: each in turn")
    options = parser.parse_args()
    for receiver in options.receiver or RECEIVERS:
        if receiver == "client":
            lie(max(1, options.boxes // 1000), options.seed)
        else:
            attack(receiver, options.boxes, options.seed)


if __name__ == "__main__":
    main()
