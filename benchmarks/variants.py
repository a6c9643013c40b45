"""Measures some comparisons once more, in another way: in a process of its own, with other options.

A process, since what is varied can't be changed in one that runs: where its threads may run, or whether pyshard's
compiled code is in use.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import processors
import results
from amounts import Amounts
from comparisons import Comparison
from results import Result
from shapes import MIX

from pyshard.compiled import IN_USE


@attrs.frozen
class Variant:
    """Another way to run the benchmarks.

    :param name: what `--only` calls it, and where the results have it.
    :param options: of the command; `environment`: variables of its process.
    :param possible: whether it would be another way here.
    """

    name: str
    possible: Callable[[], bool]
    options: Sequence[str] = ()
    environment: Mapping[str, str] = attrs.Factory(dict)


VARIANTS = (
    Variant("pinned", processors.are_several, options=["--pin"]),
    Variant("plain", lambda: IN_USE, environment={"PYSHARD_COMPILED": "0"}),
)


class Failed(Exception):
    """The process ended with an error, which it has printed."""


def chosen(comparisons: Sequence[Comparison]) -> list[str]:
    """The names of the comparisons that a variant measures: those with a target, of all shapes together."""
    return [one.name for one in comparisons if one.target is not None and one.shape in (None, MIX.name)]


def measure(variant: Variant, names: Sequence[str], amounts: Amounts, quick: bool, folder: Path) -> list[Result]:
    """Run the benchmarks in a variant's way, and print its lines, indented.

    :param names: of the comparisons; at least one.
    :param folder: where its results go.
    :raises Failed: see there.
    """
    command = [sys.executable, str(Path(__file__).parent), *variant.options, "--out", str(folder)]
    command += [f"--only={name}" for name in names]
    command += [
        f"--rounds={amounts.variant_rounds}",
        f"--documents={amounts.documents}",
        *(["--quick"] if quick else []),
    ]
    environment = {**os.environ, **variant.environment}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(f"  {line}", end="", flush=True)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise Failed(f"the variant {variant.name!r} ended with code {process.returncode}")
    return results.from_json((folder / results.FILE).read_bytes()).comparisons
