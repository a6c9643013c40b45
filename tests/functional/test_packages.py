"""The packages, as users install them: by hand, since each Python gets a whole environment.

CONTRIBUTING.md has the command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from functional.cluster import clean_environment

CHECKOUT = Path(__file__).parents[2]
OPERATORS_FILES = [
    "grafana/pyshard.json",
    "prometheus/prometheus.yml",
    "prometheus/pyshard-alerts.yml",
    "shards.json",
    "systemd/pyshard-bootstrap.service",
    "systemd/pyshard-shard@.service",
]
PYTHONS = ["python3.11", "python3.12", "python3.13"]

pytestmark = [
    pytest.mark.functional,
    pytest.mark.skipif("PYSHARD_TEST_PACKAGES" not in os.environ, reason="takes minutes: PYSHARD_TEST_PACKAGES=1"),
]

#: What is run in each installed pyshard, beside both plugins.
PROGRAM = """
from importlib.metadata import version
from pyshard.compiled import IN_USE
from pyshard.testing import MemoryCluster

with MemoryCluster() as cluster:
    client = cluster.connect()
    assert cluster.run(client.write("test", {"a": 1})) > 0
    assert cluster.run(client.get("test")) == {"a": 1}
print(version("pyshard"), "compiled" if IN_USE else "plain")
"""

#: Modules that only extras bring.
EXTRAS = ["OpenSSL", "cryptography", "redis", "matplotlib", "airportsdata", "hypothesis", "prometheus_client"]

#: Prints the distributions of an environment, each with the bytes of its files.
DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
from pathlib import Path

sizes = {}
for found in distributions():
    files = [Path(str(found.locate_file(file))) for file in found.files or ()]
    sizes[found.name.lower()] = sum(file.stat().st_size for file in files if file.is_file())
print(json.dumps(sizes))
"""

#: Bounds of what the core brings besides pyshard: distributions, and bytes of their files. Twisted has half of them.
MOST_DISTRIBUTIONS, MOST_BYTES = 20, 64 * 2**20


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that succeeds; what it wrote."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment or clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new_environment(folder: Path, python: str) -> Path:
    """A virtual environment with pip; the folder of its programs."""
    run(python, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin"


def files_below(folder: Path) -> dict[str, int]:
    """The files below a folder, each with its size."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def naming(word: bytes, folder: Path) -> list[str]:
    """The files below a folder whose content has a word."""
    return [name for name in files_below(folder) if word in (folder / name).read_bytes()]


def as_mebibytes(size: int) -> str:
    """A number of bytes, for people."""
    return f"{size / 2**20:.2f} MiB"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as a clone would have it."""
    target = tmp_path_factory.mktemp("source") / "pyshard"
    patterns = (".git", ".tox", ".venv", "*.so", "*.c", "build", "dist", "*.egg-info", "__pycache__", "dropin.cache")
    return Path(shutil.copytree(CHECKOUT, target, ignore=shutil.ignore_patterns(*patterns)))


@pytest.fixture(scope="module")
def packages(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution and of a wheel that was built from it, both checked by twine."""
    folder = tmp_path_factory.mktemp("packages")
    programs = new_environment(folder / "tools", sys.executable)
    run(programs / "pip", "install", "--quiet", "build", "twine", cwd=folder)
    run(programs / "python", "-m", "build", "--outdir", folder / "dist", source, cwd=folder)
    made = sorted((folder / "dist").iterdir())
    assert len(made) == 2
    checked = run(programs / "twine", "check", "--strict", *made, cwd=folder)
    assert checked.count("PASSED") == 2, checked
    for path in made:
        sys.stdout.write(f"\n{path.name}: {path.stat().st_size:,} bytes")
    return folder / "dist"


def test_what_is_in_them(packages: Path) -> None:
    """The source distribution has tests, docs and etc/; the wheel the package, a plugin, and what is copied or read."""
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"tests/conftest.py", "docs/running.md", "etc/docker/Dockerfile", "etc/systemd/pyshard-bootstrap.service"}
    assert wanted <= names
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive_:
        found = archive_.namelist()
    (info,) = {name.partition("/")[0] for name in found if ".dist-info/" in name}
    others = [name for name in found if not name.startswith(("pyshard/", info))]
    data = info.replace("dist-info", "data")
    pages = [f"{data}/data/share/man/man1/{name}.1" for name in ("pyshard", "pyshard-bootstrap", "pyshard-shard")]
    copied = [f"{data}/data/share/pyshard/{name}" for name in OPERATORS_FILES]
    assert sorted(others) == sorted(["twisted/plugins/pyshard_plugin.py", *pages, *copied])


@pytest.mark.parametrize("python", PYTHONS)
def test_install_and_uninstall(python: str, packages: Path, tmp_path: Path) -> None:
    """In a clean environment everything works, extras are missing, and nothing of pyshard is left at the end."""
    if shutil.which(python) is None:
        pytest.skip(f"there is no {python} here")
    programs = new_environment(tmp_path / "environment", python)
    (library,) = (tmp_path / "environment" / "lib").glob("python3.*/site-packages")
    (wheel,) = packages.glob("*.whl")
    # The wheel is for one Python, as it has compiled code; the others build theirs from the source distribution.
    (sdist,) = packages.glob("*.tar.gz")
    tag = f"cp{python[6:].replace('.', '')}-"
    run(programs / "pip", "install", "--quiet", wheel if tag in wheel.name else sdist, cwd=tmp_path)
    plugins = run(programs / "twistd", "--help", cwd=tmp_path)
    assert [name in plugins for name in ("pyshard-shard", "pyshard-bootstrap")] == [True, True]
    for plugin in ("pyshard-shard", "pyshard-bootstrap"):
        assert "--log-format" in run(programs / "twistd", plugin, "--help", cwd=tmp_path)
    said = run(programs / "python", "-c", PROGRAM, cwd=tmp_path)
    assert f", version {said.split()[0]} (" in run(programs / "pyshard", "--version", cwd=tmp_path)
    for module in EXTRAS:
        missing = f"import importlib.util as u; assert u.find_spec({module!r}) is None"
        run(programs / "python", "-c", missing, cwd=tmp_path)
    brought = json.loads(run(programs / "python", "-c", DISTRIBUTIONS, cwd=tmp_path))
    own = brought.pop("pyshard")
    others = {name: size for name, size in brought.items() if name not in ("pip", "setuptools")}
    assert len(others) <= MOST_DISTRIBUTIONS, others
    assert sum(others.values()) <= MOST_BYTES, others
    sys.stdout.write(
        f"\n{python}: {said.strip()}; installed {as_mebibytes(own)}, and {as_mebibytes(sum(others.values()))} "
        f"of {len(others)} others: {', '.join(sorted(others))}"
    )
    run(programs / "pip", "uninstall", "--quiet", "--yes", "pyshard", cwd=tmp_path)
    assert [str(path) for path in (tmp_path / "environment").rglob("*pyshard*")] == []
    # Twisted remembers its plugins, and forgets those that are no more when it looks the next time.
    assert "pyshard" not in run(programs / "twistd", "--help", cwd=tmp_path)
    assert naming(b"pyshard", library) == []


def test_extras(packages: Path, tmp_path: Path) -> None:
    """What the core lacks comes with `metrics` and `tls`: a shard then tells its figures, and takes certificates."""
    programs = new_environment(tmp_path / "environment", sys.executable)
    (wheel,) = packages.glob("*.whl")
    run(programs / "pip", "install", "--quiet", f"{wheel}[metrics,tls]", cwd=tmp_path)
    run(programs / "python", "-c", "import pyshard.http.exposition, pyshard.security.tls.contexts", cwd=tmp_path)


def test_without_a_compiler(packages: Path, tmp_path: Path) -> None:
    """Where no C compiler works, the source distribution makes a wheel in plain Python, and that does the same."""
    programs = new_environment(tmp_path / "environment", sys.executable)
    (sdist,) = packages.glob("*.tar.gz")
    environment = {**clean_environment(), "CC": "false"}
    run(programs / "pip", "wheel", "--quiet", "--no-deps", sdist, cwd=tmp_path, environment=environment)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".c"))]
    sys.stdout.write(f"\nwithout a compiler: {as_mebibytes(wheel.stat().st_size)}")
    run(programs / "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert run(programs / "python", "-c", PROGRAM, cwd=tmp_path).split()[-1] == "plain"
    assert "in plain Python" in run(programs / "pyshard", "--version", cwd=tmp_path)
