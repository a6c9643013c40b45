"""An install where there is no compiler: it works, in plain Python, and twistd finds both plugins.

tests/functional/test_packages.py does more, by hand.

Where there is one, tox has made such an install, and tests/test_compiled_twins.py looks at it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional

CHECKOUT = Path(__file__).parents[2]
PROGRAM = """
from pyshard.compiled import IN_USE
from pyshard.model.document_encoding import decode, encode
from pyshard.model.key_slots import slot_of
from pyshard.testing import MemoryCluster
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

with MemoryCluster() as cluster:
    client = cluster.connect()
    assert cluster.run(client.write("test", {"a": [1, {"b": "c"}]})) == 78
assert slot_of(b"test") == 1671936
names = {plugin.tapname for plugin in getPlugins(IServiceMaker)}
assert names >= {"pyshard-shard", "pyshard-bootstrap"}, names
print(IN_USE)
"""


def installed(folder: Path, path: str) -> str:
    """What the program prints in a pyshard that was installed from this checkout.

    :param folder: an empty one.
    :param path: where programs are found meanwhile, such as a compiler.
    """
    source, target = folder / "source", folder / "target"
    shutil.copytree(CHECKOUT / "pyshard", source / "pyshard", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copytree(CHECKOUT / "twisted", source / "twisted")
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", "PYSHARD_COMPILED")}
    environment |= {"PATH": path, "PYTHONPATH": ""}
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *install],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False,
        env=environment | {"PYTHONPATH": str(target)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_without_a_compiler(tmp_path: Path) -> None:
    """The install works, and pyshard is in plain Python."""
    (tmp_path / "bin").mkdir()
    assert installed(tmp_path, str(tmp_path / "bin")) == "False"
