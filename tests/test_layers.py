"""The layers of the design: what a module may import, who may reach for the global reactor, and the plugin folder.

Imports are found in the syntax tree of each file, those within functions and for type checkers included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

import pyshard

#: The parts of the package, from the ground up: a module imports only from its own part and from those before it.
LAYERS = [
    "message_texts",
    "errors",
    "settings",
    "clocks",
    "compiled",
    "model",
    "security",
    "protocol",
    "metrics",
    "client_core",
    "storage",
    "replication",
    "net",
    "server",
    "http",
    "shard",
    "bootstrap",
    "client",
    "aio",
    "blocking",
    "backup",
    "testing",
    "cli",
    "__main__",
]

#: Parts that meet over the wire only: neither imports the other, though one of them stands first in the list.
SIBLINGS = {
    "bootstrap": {"shard"},
    "client": {"shard", "bootstrap"},
    "aio": {"shard", "bootstrap"},
    "blocking": {"client", "shard", "bootstrap"},
    "backup": {"shard", "bootstrap"},
}

#: Who may import from the package itself, ``from pyshard import Pyshard``, as its users do.
ROOT_USERS = {"cli"}

#: What anybody may import from the package itself: a constant, which is there before anything else is loaded.
ROOT_NAMES = {"pyshard.__version__"}

#: Where the global reactor is picked up, to be handed down as an argument.
REACTOR_MODULES = {"pyshard.shard.plugin", "pyshard.bootstrap.plugin"}
REACTOR_LAYERS = {"cli"}

ADD_IT = "add it to the list LAYERS in tests/test_layers.py"

PACKAGE = Path(pyshard.__file__).parent
CHECKOUT = Path(__file__).parent.parent
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name of a file of the package: ``shard/__init__.py`` is ``pyshard.shard``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(["pyshard", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def layer_of(module: str) -> str:
    """The part of the package that a module belongs to; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


@lru_cache(maxsize=8)  # several rules look at one file after the other; trees take too much memory to keep them all
def nodes(source: str) -> tuple[ast.AST, ...]:
    """All nodes of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(source)))


def imported(source: str, package: str) -> Iterator[str]:
    """Every dotted name that a file imports, names out of modules included.

    :param source: the file's text.
    :param package: the package that relative imports in it start from.
    """
    for node in nodes(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def broken_layers(module: str, source: str, package: str) -> list[str]:
    """What a file imports and may not, as one message each."""
    layer = layer_of(module)
    if not layer:
        return []
    if layer not in LAYERS:
        return [f"{module} is in no layer: {ADD_IT}"]
    broken = []
    for name in sorted(set(imported(source, package))):
        target = layer_of(name)
        if name.partition(".")[0] != "pyshard" or target == layer:
            continue
        if target not in LAYERS:
            if layer in ROOT_USERS or name in ROOT_NAMES:
                continue
            broken.append(
                f"{module} imports {name}, which is in no layer: {ADD_IT}, or import from where it is defined"
            )
        elif LAYERS.index(target) > LAYERS.index(layer):
            broken.append(f"{module} imports {name}, which comes after it")
        elif target in SIBLINGS.get(layer, ()):
            broken.append(f"{module} imports {name}: {layer} and {target} meet over the wire only")
    return broken


def global_reactor(source: str, package: str = "pyshard") -> bool:
    """Whether a file gets at ``twisted.internet.reactor``, by import or as an attribute."""
    if any(f"{name}.".startswith("twisted.internet.reactor.") for name in imported(source, package)):
        return True
    return any(
        isinstance(node, ast.Attribute) and node.attr == "reactor" and ast.unparse(node.value).endswith("internet")
        for node in nodes(source)
    )


def package_of(path: Path) -> str:
    """The package that a file's relative imports start from."""
    return module_of(path.parent / "__init__.py")


def test_layers() -> None:
    """Each module imports only from its own part of the package and from those before it in the list."""
    broken = [broken_layers(module_of(path), path.read_text(encoding="utf-8"), package_of(path)) for path in FILES]
    assert [message for messages in broken for message in messages] == []


def test_reactor_is_an_argument() -> None:
    """Nothing but the plugins and cli reaches for the global reactor."""
    users = {module_of(path) for path in FILES if global_reactor(path.read_text(encoding="utf-8"), package_of(path))}
    assert [name for name in sorted(users - REACTOR_MODULES) if layer_of(name) not in REACTOR_LAYERS] == []


def test_modules_are_found() -> None:
    """The tests above look at the package: its root, its modules and those of its parts."""
    assert {"pyshard", "pyshard.errors", "pyshard.shard", "pyshard.shard.plugin"} <= set(map(module_of, FILES))


def test_list_has_no_repetition() -> None:
    """Each part stands in the list once, so that its place is known."""
    assert len(set(LAYERS)) == len(LAYERS)


def test_plugin_folder_is_no_package() -> None:
    """twisted/plugins holds our plugin and no __init__.py, which would hide Twisted's own."""
    folder = CHECKOUT / "twisted"
    assert (folder / "plugins" / "pyshard_plugin.py").is_file()
    assert sorted(folder.rglob("__init__.py")) == []


# -- the rules themselves, on small texts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pyshard.model.key_slots", "import os, twisted.internet\nfrom pyshard.errors import InvalidKey"),
        ("pyshard.model.key_slots", "from pyshard import errors, settings"),
        ("pyshard.model.key_slots", "import pyshard.errors as errors"),
        ("pyshard.model.key_slots", "import pyshardlike.cli"),
        ("pyshard.settings", "from . import errors"),
        ("pyshard.settings", "from .errors import InvalidKey"),
        ("pyshard.shard.plugin", "from pyshard.shard.service import ShardService"),
        ("pyshard.shard.plugin", "from .service import ShardService\nfrom ..errors import ConfigError"),
        ("pyshard.testing.memory_cluster", "from pyshard import shard, bootstrap, client, blocking"),
        ("pyshard.cli.main", "import pyshard.testing, pyshard.blocking.pyshard, pyshard.errors"),
        ("pyshard.cli.main", "import pyshard\nfrom pyshard import Pyshard, __version__"),
        ("pyshard", "from pyshard.cli import main\nfrom pyshard.unheard import of"),
    ],
)
def test_allowed_imports(module: str, source: str) -> None:
    """Earlier parts, the own part and other packages: all these may be imported."""
    assert broken_layers(module, source, module.rpartition(".")[0] or "pyshard") == []


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("pyshard.errors", "import pyshard.settings", "imports pyshard.settings, which comes after it"),
        ("pyshard.errors", "from pyshard import settings", "imports pyshard.settings, which comes after it"),
        ("pyshard.errors", "from pyshard.cli.main import run", "imports pyshard.cli.main.run, which comes after it"),
        ("pyshard.errors", "def f():\n    import pyshard.cli", "imports pyshard.cli, which comes after it"),
        (
            "pyshard.errors",
            "if TYPE_CHECKING:\n    from pyshard import net",
            "imports pyshard.net, which comes after it",
        ),
        ("pyshard.errors", "from . import net", "imports pyshard.net, which comes after it"),
        ("pyshard.errors", "from .net import x", "imports pyshard.net.x, which comes after it"),
        ("pyshard.shard.plugin", "from .. import client", "imports pyshard.client, which comes after it"),
        (
            "pyshard.shard.plugin",
            "from ..client.index_handle import x",
            "imports pyshard.client.index_handle.x, which comes after it",
        ),
        (
            "pyshard.bootstrap.reconciler",
            "from pyshard.shard.shard import Shard",
            "imports pyshard.shard.shard.Shard: bootstrap and shard meet over the wire only",
        ),
        (
            "pyshard.client.index_handle",
            "import pyshard.shard",
            "imports pyshard.shard: client and shard meet over the wire only",
        ),
        (
            "pyshard.client.index_handle",
            "from pyshard import bootstrap",
            "imports pyshard.bootstrap: client and bootstrap meet over the wire only",
        ),
        (
            "pyshard.testing.memory_cluster",
            "from pyshard import Pyshard",
            f"imports pyshard.Pyshard, which is in no layer: {ADD_IT}, or import from where it is defined",
        ),
        (
            "pyshard.testing.memory_cluster",
            "import pyshard",
            f"imports pyshard, which is in no layer: {ADD_IT}, or import from where it is defined",
        ),
        ("pyshard.unheard", "import os", f"is in no layer: {ADD_IT}"),
        ("pyshard.unheard.of", "import os", f"is in no layer: {ADD_IT}"),
    ],
)
def test_refused_imports(module: str, source: str, message: str) -> None:
    """What comes later, a sibling, the root and new modules are found, wherever the import stands."""
    assert broken_layers(module, source, module.rpartition(".")[0]) == [f"{module} {message}"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from twisted.internet import reactor", True),
        ("from twisted.internet import defer, reactor as r", True),
        ("import twisted.internet.reactor", True),
        ("from twisted.internet.reactor import callLater", True),
        ("def f():\n    from twisted.internet import reactor", True),
        ("import twisted.internet\ntwisted.internet.reactor.run()", True),
        ("from twisted import internet\ninternet.reactor.run()", True),
        ("from twisted.internet import defer, reactors", False),
        ("from twisted.internet.epollreactor import EPollReactor", False),
        ("def f(reactor):\n    reactor.callLater(0, f)", False),
        ("self.reactor.run()", False),
        ("sys.modules.get('twisted.internet.reactor')", False),
    ],
)
def test_what_reaches_for_the_global_reactor(source: str, expected: bool) -> None:
    """The global reactor is found however it is reached; one that was handed in is none of it."""
    assert global_reactor(source) is expected
