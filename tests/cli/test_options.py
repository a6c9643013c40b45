"""Options, addresses and wrong usage of the subcommands."""

from __future__ import annotations

import pytest
from in_process_command import Commands, Ended
from twisted.internet.task import Clock

from pyshard.blocking.connector import Connector
from pyshard.cli import common_options, deferred_call
from pyshard.cli.common_options import Target
from pyshard.compiled import IN_USE
from pyshard.errors import ConfigError
from pyshard.security.tls import Tls


def test_dashes(pyshard: Commands) -> None:
    """Behind -- everything is an argument; before it an unknown option is refused."""
    assert pyshard("write", "--", "--key", "-doc").code == 0
    assert pyshard("read", "--", "--key") == Ended(0, '"-doc"\n', "")
    refused = "pyshard: No such option '--iff-absent'; see 'pyshard write --help'\n"
    assert pyshard("write", "key", "--iff-absent") == Ended(2, "", refused)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["write", "k", '{"a":'], "Invalid value for 'DOC': line 1, column 6: text that starts with { must be JSON"),
        (["write", "k"], "Missing argument 'DOC', or --file FILE; see 'pyshard write --help'"),
        (["write", "k", '"\\ud800"'], "document: a str with lone surrogates"),
        (["read"], "Missing argument 'KEY'"),
        (["read", "a", "b"], "Got unexpected extra argument"),
        (["read", "x" * 70_000], "has 70,000 bytes in UTF-8; a key has at most 65,536"),
        (["read", "a", "--index", ""], "index name ''"),
        (["read", "a", "--index", "a b"], "index name 'a b'"),
        (["read", "a", "--bootstrap", "nowhere"], "found 'nowhere', expected ['host', port], 'host:port' or"),
        (["read", "a", "--bootstrap", "pyshard://a?color=red"], "address as a URL: query: found 'color'"),
        (["read", "a", "--bootstrap", "pyshard://a", "--bootstrap", "b:1"], "found an address as a URL among others"),
        (["read", "a", "--bootstrap", "b:1", "--bootstrap", "pyshard://a"], "found an address as a URL among others"),
        (
            ["read", "a", "--address", "b:1"],
            "Invalid value for '--address': found 'b:1', expected ANNOUNCED=DIALED, such",
        ),
        (
            ["read", "a", "--address", "b:1=c:0"],
            "Invalid value for '--address': found 'c:0', expected HOST:PORT with a",
        ),
        (
            ["--address", "b:1=c:1", "--address", "b:1=d:1", "stat"],
            "found 'b:1' twice, expected each shard's address once",
        ),
        (["--address", "b:1=c:1", "up"], "--address means nothing to 'up'"),
        (
            ["--bootstrap", "pyshard://a?address=b:1=c:1", "--address", "b:1=d:1", "stat"],
            "addresses: found b:1=c:1 in the",
        ),
        (["read", "a", "--deadline", "0"], "found 0, expected seconds, above 0 and at most 86,400"),
        (["read", "a", "--deadline", "nan"], "found nan, expected seconds"),
        (["read", "a", "--deadline", "soon"], "'soon' is not a valid float"),
        (["index"], "Missing command; see 'pyshard index --help'"),
        (["index", "create", "a b"], "index name 'a b'"),
        (["--index", "a", "stat"], "--index means nothing to 'stat'"),
        (["--deadline", "3", "up"], "--deadline means nothing to 'up'"),
        (["stat", "--index", "a"], "No such option"),
        (["unheard"], "No such command 'unheard'"),
        (["write", "k", "1", "--ttl", "0"], "Invalid value for '--ttl': found 0.0, expected a number of seconds"),
        (["write", "k", "1", "--ttl", "-3"], "Invalid value for '--ttl': found -3.0, expected a number of seconds"),
        (["write", "k", "1", "--ttl", "nan"], "Invalid value for '--ttl': found nan, expected a number of seconds"),
        (["write", "k", "1", "--ttl", "1e10"], "more than 0 and at most 100 years"),
        (["write", "k", "1", "--if-version", "0"], "Invalid value for '--if-version': found 0, expected a version"),
        (["pop", "k", "--if-version", "-1"], "Invalid value for '--if-version': found -1, expected a version"),
        (["remove", "k", "--if-version", "x"], "'x' is not a valid integer"),
        (["write", "k", "1", "--if-absent", "--if-version", "3"], "found both, expected one of them"),
        (["touch", "k"], "Missing argument 'SECONDS|never'"),
        (["touch", "k", "soon"], "found 'soon', expected seconds, or never"),
        (["touch", "k", "-1"], "found -1.0, expected a number of seconds"),
        (["incr", "k", "--by", "1.5"], "Invalid value for '--by': found 1.5, expected an integer"),
        (["incr", "k", "--initial", "true"], "Invalid value for '--initial': found true, expected an integer"),
        (["incr", "k", "--by", '{"a"'], "Invalid value for '--by': line 1, column 5"),
        (["up", "--durability", "fsync"], "--durability: found it without --data-dir, expected both or neither"),
        (["up", "--durability", "maybe", "--data-dir", "d"], "'maybe' is not one of 'fsync', 'async', 'none'"),
        (["up", "--data-dir", "d", "--run-dir", "./d"], "--run-dir and --data-dir: found d twice"),
        (["--index", "a", "backup", "d"], "--index means nothing to 'backup'"),
        (["restore"], "Missing argument 'DIR'"),
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
        (["read", "a", "--bootstrap", "pyshard://a,[::1]:2/i?deadline=3"], {}, ("a:9192,[::1]:2", "i", 3)),
        (["read", "a"], {"PYSHARD_BOOTSTRAP": "pyshard://a/i"}, ("a:9192", "i", 10)),
        (["read", "a", "--index", "j"], {"PYSHARD_BOOTSTRAP": "pyshard://a/i"}, ("a:9192", "j", 10)),
        (["--deadline", "3", "read", "a"], {"PYSHARD_BOOTSTRAP": "pyshard://a"}, ("a:9192", None, 3)),
        (["stat"], {"PYSHARD_BOOTSTRAP": "pyshard://a"}, ("a:9192", None, 5)),
        (["stat"], {"PYSHARD_BOOTSTRAP": "pyshard://a?deadline=3"}, ("a:9192", None, 3)),
    ],
)
def test_options(
    pyshard: Commands, arguments: list[str], env: dict[str, str], expected: tuple[str | None, str | None, float]
) -> None:
    """Options stand before the subcommand or behind it, and behind it wins; the environment comes last."""
    pyshard(*arguments, env=env)
    (target,) = pyshard.targets
    assert (target.bootstrap, target.index, target.deadline) == expected


def test_files_in_a_url(pyshard: Commands) -> None:
    """The files that a URL names are those that the options would name."""
    pyshard("--bootstrap", "pyshard://a?token_file=/t&tls_ca=/ca", "read", "a")
    pyshard("--bootstrap", "pyshard://a", "--token-file", "/t", "--tls-ca", "/ca", "read", "a")
    assert [(target.token_file, target.tls) for target in pyshard.targets] == [("/t", Tls("/ca"))] * 2


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        (["stat"], {}, None),
        (["--address", "a:1=b:2", "--address", "c:3=d:4", "stat"], {}, {"a:1": "b:2", "c:3": "d:4"}),
        (["--address", "a:1=b:2", "stat", "--address", "c:3=d:4"], {}, {"c:3": "d:4"}),
        (["stat", "--bootstrap", "pyshard://a?address=a:1=b:2"], {}, {"a:1": "b:2"}),
        (["stat", "--bootstrap", "pyshard://a?address=a:1=b:2", "--address", "a:1=b:2"], {}, {"a:1": "b:2"}),
        (["stat", "--bootstrap", "pyshard://a"], {"PYSHARD_ADDRESSES": "a:1=b:2"}, {"a:1": "b:2"}),
        (["read", "k"], {"PYSHARD_BOOTSTRAP": "pyshard://a?address=a:1=b:2"}, {"a:1": "b:2"}),
    ],
)
def test_addresses(
    pyshard: Commands, arguments: list[str], env: dict[str, str], expected: dict[str, str] | None
) -> None:
    """Where shards are dialed stands in options or in the URL; else the client looks into the environment."""
    pyshard(*arguments, env=env)
    assert [target.addresses for target in pyshard.targets] == [expected]


class Closes:
    """In the place of a client that has connected."""

    def close(self) -> None:
        """There is nothing to close."""


@pytest.mark.parametrize("environment", [{}, {"PYSHARD_ADDRESSES": "a:1=b:2"}])
def test_addresses_reach_the_clients(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clients of the command are given what stands in options; without any, what the environment says counts."""
    deferred: list[object] = []
    blocking: list[dict[str, str]] = []

    def over(connector: Connector, at_once: bool) -> Closes:
        assert at_once
        blocking.append(connector.parameters.address_mapping.texts)
        return Closes()

    async def connect(reactor: object, server: object, *, addresses: object, **_: object) -> None:
        deferred.append(addresses)
        raise ConfigError("this will do")

    monkeypatch.setattr(deferred_call, "connect", connect)
    monkeypatch.setattr(deferred_call, "run", lambda work: work(Clock()).send(None))
    monkeypatch.setattr(common_options, "over", over)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for addresses in ({"c:1": "d:1"}, None):
        with pytest.raises(ConfigError, match="this will do"):
            deferred_call.call(Target(None, None, 10, addresses=addresses), lambda client: client.indexes())
    assert deferred == [{"c:1": "d:1"}, None]
    assert blocking == [{"c:1": "d:1"}, {"a:1": "b:2"} if environment else {}]


def test_version(pyshard: Commands) -> None:
    """--version prints the release, and whether its compiled code is in use."""
    parts = "with compiled code" if IN_USE else "in plain Python"
    assert pyshard("--version") == Ended(0, f"pyshard, version 0.3.0 ({parts})\n", "")


def test_no_subcommand(pyshard: Commands) -> None:
    """Alone, the command prints its help, and fails."""
    ended = pyshard()
    assert (ended.code, ended.out) == (2, "")
    assert ended.error == pyshard("--help").out
