"""The session that pyshard was first described by, against real daemons."""

from __future__ import annotations

import sys

import pytest
from functional.cluster import Cluster, run

from pyshard import Pyshard
from pyshard.settings import settings

pytestmark = pytest.mark.functional

_SESSION = """\
from pyshard import Pyshard
from pyshard.settings import settings

app = Pyshard(bootstrap_server=['127.0.0.1', {port}])
app.write(key='test', doc='hello world')
app.read('test')
app.write('test1', {{'hello': 'world'}})
app.read('test1')
app.pop('test1')
"""

_PRINTED = """\
60
{'hash_': 0.1671936, 'record': 'hello world'}
54
{'hash_': 0.8204544, 'record': {'hello': 'world'}}
{'hash_': 0.8204544, 'record': {'hello': 'world'}}
"""


def test_session_as_typed(cluster: Cluster) -> None:
    """Typed into an interpreter, the session prints what the first README says, and the interpreter exits."""
    lines = _SESSION.format(port=cluster.bootstrap.port)
    ran = run(cluster.folder, cluster.environment, sys.executable, "-iq", text=lines)
    assert ran.stdout == _PRINTED
    assert ran.returncode == 0
    assert "Error" not in ran.stderr


def test_session_values(cluster: Cluster) -> None:
    """The session's calls return these very values and types; a popped key is gone, the other one stays."""
    with Pyshard(["127.0.0.1", cluster.bootstrap.port]) as app:
        assert app.write(key="test", doc="hello world") == 60
        assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
        assert app.write("test1", {"hello": "world"}) == 54
        assert app.read("test1") == {"hash_": 0.8204544, "record": {"hello": "world"}}
        assert app.pop("test1") == {"hash_": 0.8204544, "record": {"hello": "world"}}
        assert app.read("test1") is None
        assert app.pop("test1") is None
        assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}


def test_default_bootstrap_server() -> None:
    """The settings' default is what the first README relies on."""
    assert settings.BOOTSTRAP_SERVER == ["localhost", 9192]
