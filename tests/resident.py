"""How much memory something takes, as the system sees it: measured in a process of its own, shape by shape."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

#: Makes something that is to be measured; what it returns is kept, and how many bytes are counted for it.
Made: TypeAlias = Callable[[], tuple[object, int]]

_TESTS = Path(__file__).parent


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def measured(program: Path) -> dict[str, tuple[int, int]]:
    """Run a program that calls `report`, and give what it found: shape → bytes that are counted, bytes that it took."""
    path = os.pathsep.join([str(_TESTS), *sys.path])
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=230,  # a little less than pytest's own
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {shape: (counted, taken) for shape, (counted, taken) in json.loads(done.stdout).items()}


def report(shapes: Mapping[str, Made]) -> None:
    """Measure each shape, and write what `measured` gives. Each is kept, so that none is made of another's memory."""
    kept, found = [], {}
    for name, make in shapes.items():
        gc.collect()
        before = resident()
        made, counted = make()
        gc.collect()
        found[name] = (counted, resident() - before)
        kept.append(made)
    sys.stdout.write(json.dumps(found))
