"""The subcommands on one key, on keys and on indexes: what they print, and their exit codes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_runs import Commands, Ended

from pyshard.testing import MemoryCluster


@pytest.fixture
def pyshard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """The command, on a cluster of two shards."""
    with MemoryCluster() as cluster:
        yield Commands(cluster, monkeypatch)


def test_session(pyshard: Commands) -> None:
    """The README's session, from the shell."""
    assert pyshard("write", "test", "hello world") == Ended(0, "60\n", "")
    assert pyshard("read", "test") == Ended(0, '"hello world"\n', "")
    assert pyshard("write", "test1", '{"hello": "world"}') == Ended(0, "54\n", "")
    assert pyshard("read", "test1") == Ended(0, '{"hello": "world"}\n', "")
    assert pyshard("pop", "test1") == Ended(0, '{"hello": "world"}\n', "")
    assert pyshard("has", "test1") == Ended(1, "false\n", "")
    assert pyshard("has", "test") == Ended(0, "true\n", "")
    assert pyshard("remove", "test") == Ended(0, "60\n", "")
    assert pyshard("keys") == Ended(0, "", "")


@pytest.mark.parametrize("verb", ["read", "pop", "remove"])
def test_missing_key(pyshard: Commands, verb: str) -> None:
    """Exit code 1, nothing on standard output, and one line that names the key."""
    assert pyshard(verb, "no\nkey") == Ended(1, "", 'pyshard: there is no key "no\\nkey"\n')


def test_missing_is_not_null(pyshard: Commands) -> None:
    """The document null is there."""
    assert pyshard("write", "nothing", "null") == Ended(0, "16\n", "")
    assert pyshard("read", "nothing") == Ended(0, "null\n", "")
    assert pyshard("has", "nothing") == Ended(0, "true\n", "")
    assert pyshard("pop", "nothing") == Ended(0, "null\n", "")


@pytest.mark.parametrize(("doc", "size"), [("42", "28"), ("{}", "0")])
def test_if_absent(pyshard: Commands, doc: str, size: str) -> None:
    """The first one writes; a second one changes nothing and has exit code 1, for an empty document as well."""
    assert pyshard("write", "--if-absent", "key", doc) == Ended(0, f"{size}\n", "")
    assert pyshard("write", "key", "--if-absent", "{}") == Ended(
        1, "", 'pyshard: key "key" exists; nothing was written\n'
    )
    assert pyshard("read", "key") == Ended(0, f"{doc}\n", "")


def test_remove_of_an_empty_document(pyshard: Commands) -> None:
    """An empty document has the size 0, and is removed all the same."""
    pyshard("write", "key", "[]")
    assert pyshard("remove", "key") == Ended(0, "0\n", "")
    assert pyshard("remove", "key").code == 1


@pytest.mark.parametrize("doc", ["-5", "-0.5", "-1e3", "-Infinity"])
def test_negative_numbers(pyshard: Commands, doc: str) -> None:
    """A number that is negative is no option, neither as a document nor as a key."""
    assert pyshard("write", doc, doc).code == 0
    assert pyshard("keys").out == f"{doc}\n"
    assert float(pyshard("read", doc).out) == float(doc)


def test_dashes(pyshard: Commands) -> None:
    """Behind -- anything is an argument; before it what looks like an option and is none is refused."""
    assert pyshard("write", "--", "--key", "-doc").code == 0
    assert pyshard("read", "--", "--key") == Ended(0, '"-doc"\n', "")
    refused = "pyshard: No such option '--iff-absent'; see 'pyshard write --help'\n"
    assert pyshard("write", "key", "--iff-absent") == Ended(2, "", refused)


def test_bytes_and_nan(pyshard: Commands) -> None:
    """What JSON can't carry has its representation, both ways."""
    for doc in ('{"$bytes": "AAH/"}', "NaN", "-Infinity", '{"$$bytes": 1}'):
        assert pyshard("write", "key", doc).code == 0
        assert pyshard("read", "key") == Ended(0, f"{doc}\n", "")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["write", "k", '{"a":'], "Invalid value for 'DOC': line 1, column 6: text that starts with { must be JSON"),
        (["write", "k"], "Missing argument 'DOC'; see 'pyshard write --help'"),
        (["write", "k", '"\\ud800"'], "the document has a str with lone surrogates"),
        (["read"], "Missing argument 'KEY'"),
        (["read", "a", "b"], "Got unexpected extra argument"),
        (["read", "x" * 70_000], "has 70,000 bytes in UTF-8; a key has at most 65,536"),
        (["read", "a", "--index", ""], "index name ''"),
        (["read", "a", "--index", "a b"], "index name 'a b'"),
        (["read", "a", "--bootstrap", "nowhere"], "found 'nowhere', expected ['host', port], 'host:port' or"),
        (["read", "a", "--deadline", "0"], "found 0, expected seconds, above 0 and at most 86,400"),
        (["read", "a", "--deadline", "nan"], "found nan, expected seconds"),
        (["read", "a", "--deadline", "soon"], "'soon' is not a valid float"),
        (["index"], "Missing command; see 'pyshard index --help'"),
        (["index", "create", "a b"], "index name 'a b'"),
        (["--index", "a", "stat"], "--index means nothing to 'stat'"),
        (["--deadline", "3", "up"], "--deadline means nothing to 'up'"),
        (["stat", "--index", "a"], "No such option"),
        (["unheard"], "No such command 'unheard'"),
        (["load", "no/such/file"], "'no/such/file': No such file or directory"),
        (["load", "--create", "-"], "--create needs --index NAME"),
    ],
)
def test_bad_usage(pyshard: Commands, arguments: list[str], error: str) -> None:
    """A mistake is one line on standard error, and exit code 2."""
    ended = pyshard(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert error in ended.error
    assert ended.error.startswith("pyshard: ")
    assert ended.error.count("\n") == 1


def test_indexes(pyshard: Commands) -> None:
    """An index has keys of its own; creating, dropping and listing them."""
    assert pyshard("index", "create", "pages") == Ended(0, "", "")
    assert pyshard("index", "create", "more") == Ended(0, "", "")
    assert pyshard("index", "list") == Ended(0, "more\npages\n", "")
    assert pyshard("write", "--index", "pages", "key", "1").code == 0
    assert pyshard("read", "key").code == 1
    assert pyshard("keys", "--index", "pages") == Ended(0, "key\n", "")
    assert pyshard("index", "drop", "pages") == Ended(0, "", "")
    assert pyshard("index", "list") == Ended(0, "more\n", "")


def test_refusals(pyshard: Commands) -> None:
    """What the cluster refuses has exit code 5."""
    pyshard("index", "create", "pages")
    assert pyshard("index", "create", "pages").code == 5
    assert pyshard("index", "drop", "nope").code == 5
    for verb in ("read", "has", "keys", "cat"):
        ended = pyshard(verb, *["key"][: verb in ("read", "has")], "--index", "nope")
        assert (ended.code, ended.out) == (5, "")
        assert "there is no index 'nope'" in ended.error


def test_shard_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full shard refuses, with exit code 5, and keeps what it has."""
    with MemoryCluster(1, size=400) as cluster:
        pyshard = Commands(cluster, monkeypatch)
        assert pyshard("write", "a", "x" * 100).code == 0
        assert pyshard("write", "b", "x" * 300).code == 5
        assert pyshard("keys").out == "a\n"


def test_unavailable(pyshard: Commands) -> None:
    """Without an answer the exit code is 3, never that of a missing key."""
    pyshard.cluster.kill_shard("shard0")
    ended = pyshard("read", "test", "--deadline", "2")
    assert (ended.code, ended.out) == (3, "")
    assert ended.error.count("\n") == 1
    assert pyshard("keys", "--deadline", "2").code == 3
    assert pyshard("read", "test1", "--deadline", "2").code == 1  # on the other shard


def test_keys(pyshard: Commands) -> None:
    """Keys come one a line, in the order of their hashes; --json has a line for every key."""
    for key in ("test1", "test", "ключ"):
        pyshard("write", key, "1")
    assert pyshard("keys") == Ended(0, "test\nключ\ntest1\n", "")
    assert pyshard("keys", "--json") == Ended(0, '"test"\n"ключ"\n"test1"\n', "")


def test_keys_with_line_breaks(pyshard: Commands) -> None:
    """A key that takes two lines is an error, unless keys are quoted."""
    pyshard("write", "a\nb", "1")
    assert pyshard("keys") == Ended(2, "", 'pyshard: key "a\\nb" takes more than one line; use --json\n')
    assert pyshard("keys", "--json") == Ended(0, '"a\\nb"\n', "")


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        (["read", "a"], {}, (None, None, 10)),
        (["--bootstrap", "a:1", "--index", "i", "--deadline", "3", "read", "a"], {}, ("a:1", "i", 3)),
        (["read", "a", "--bootstrap", "a:1", "--index", "i", "--deadline", "3"], {}, ("a:1", "i", 3)),
        (["--bootstrap", "a:1", "--deadline", "3", "read", "a", "--bootstrap", "b:2"], {}, ("b:2", None, 3)),
        (["read", "a"], {"PYSHARD_BOOTSTRAP": "e:3"}, ("e:3", None, 10)),
        (["read", "a", "--bootstrap", "b:2"], {"PYSHARD_BOOTSTRAP": "e:3"}, ("b:2", None, 10)),
        (["--bootstrap", "a:1", "read", "a"], {"PYSHARD_BOOTSTRAP": "e:3"}, ("a:1", None, 10)),
        (["stat"], {}, (None, None, 5)),
        (["--deadline", "7", "stat"], {}, (None, None, 7)),
        (["index", "list", "--bootstrap", "a:1"], {}, ("a:1", None, 10)),
    ],
)
def test_options(
    pyshard: Commands, arguments: list[str], env: dict[str, str], expected: tuple[str | None, str | None, float]
) -> None:
    """Options stand before the subcommand or behind it, and behind it wins; the environment comes last."""
    pyshard(*arguments, env=env)
    (target,) = pyshard.targets
    assert (target.bootstrap, target.index, target.deadline) == expected


def test_version(pyshard: Commands) -> None:
    """--version prints the release."""
    assert pyshard("--version") == Ended(0, "pyshard, version 0.3.0\n", "")


def test_no_subcommand(pyshard: Commands) -> None:
    """Alone, the command prints its help, and fails."""
    ended = pyshard()
    assert (ended.code, ended.out) == (2, "")
    assert ended.error == pyshard("--help").out
