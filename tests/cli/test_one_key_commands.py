"""The subcommands on one key, on keys and on indexes: what they print, and their exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from in_process_command import Commands, Ended

from pyshard.blocking.cluster import BlockingCluster
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.testing import MemoryCluster


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
    """The first write is done; a second one changes nothing and has exit code 1, for an empty document as well."""
    assert pyshard("write", "--if-absent", "key", doc) == Ended(0, f"{size}\n", "")
    assert pyshard("write", "key", "--if-absent", "{}") == Ended(
        1, "", 'pyshard: key "key" exists; nothing was written\n'
    )
    assert pyshard("read", "key") == Ended(0, f"{doc}\n", "")


@pytest.mark.parametrize(("doc", "size"), [("42", "28"), ("{}", "0"), ("[]", "0")])
def test_if_version(pyshard: Commands, doc: str, size: str) -> None:
    """Only the version that `item` gave writes, once; for an empty document as well."""
    pyshard("write", "key", '"old"')
    version = json.loads(pyshard("item", "key").out)["version"]
    assert pyshard("write", "key", doc, "--if-version", str(version)) == Ended(0, f"{size}\n", "")
    for other in (version, version + 7):
        assert pyshard("write", "key", doc, "--if-version", str(other)) == Ended(
            1, "", f'pyshard: key "key" does not have version {other}; nothing was written\n'
        )
    assert pyshard("write", "none", doc, "--if-version", "1").code == 1
    assert pyshard("has", "none").code == 1
    assert pyshard("read", "key") == Ended(0, f"{doc}\n", "")


@pytest.mark.parametrize("verb", ["pop", "remove"])
def test_removing_if_version(pyshard: Commands, verb: str) -> None:
    """pop and remove leave a key of another version alone."""
    pyshard("write", "key", "[]")
    version = json.loads(pyshard("item", "key").out)["version"]
    assert pyshard(verb, "key", "--if-version", str(version + 1)) == Ended(
        1, "", f'pyshard: key "key" does not have version {version + 1}; nothing was removed\n'
    )
    assert pyshard("has", "key").code == 0
    assert pyshard(verb, "key", "--if-version", str(version)) == Ended(0, {"pop": "[]\n", "remove": "0\n"}[verb], "")
    assert pyshard("has", "key").code == 1
    assert pyshard(verb, "key", "--if-version", str(version)).code == 1


@pytest.mark.parametrize("absent", [True, False])
def test_one_of_two_wins(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, absent: bool) -> None:
    """Of two writers under one condition exactly one succeeds, also with an empty document."""
    version = 0
    if not absent:
        pyshard("write", "key", "1")
        version = json.loads(pyshard("item", "key").out)["version"]
    other = pyshard.cluster.connect()
    operate = BlockingCluster.operate
    sizes: list[int] = []

    def interrupted(self: BlockingCluster, operation: GatheredOperation) -> object:
        """Make a call, and right behind it the other client's call."""
        result = operate(self, operation)
        condition: dict[str, Any] = {"if_absent": True} if absent else {"if_version": version}
        sizes.append(pyshard.cluster.run(other.write("key", "the other's", **condition)))
        return result

    monkeypatch.setattr(BlockingCluster, "operate", interrupted)
    arguments = ["--if-absent"] if absent else ["--if-version", str(version)]
    won = pyshard("write", *arguments, "key", "{}").code == 0
    assert won is not any(sizes)


def test_empty_documents_fail_as_others_do(pyshard: Commands) -> None:
    """A conditional write of an empty document that fails has its own error."""
    ended = pyshard("write", "--if-absent", "--index", "nope", "key", "{}")
    assert (ended.code, ended.out) == (5, "")
    assert "there is no index 'nope'" in ended.error


def test_item(pyshard: Commands) -> None:
    """All fields as one line of JSON, with what JSON can't carry as `read` shows it."""
    pyshard("write", "test", '{"$bytes": "AAH/"}')
    ended = pyshard("item", "test")
    assert (ended.code, ended.error, ended.out.count("\n")) == (0, "", 1)
    found = json.loads(ended.out)
    assert found.pop("version") > 0
    assert found == {
        "key": "test", "hash_": 0.1671936, "record": {"$bytes": "AAH/"}, "expiry": None, "ttl": None, "size": 36
    }  # fmt: skip
    assert pyshard("item", "none") == Ended(1, "", 'pyshard: there is no key "none"\n')


def test_ttl(pyshard: Commands) -> None:
    """A document expires after its time to live; a new write without one removes it."""
    assert pyshard("write", "--ttl", "2.5", "key", "1").code == 0
    assert pyshard("write", "--ttl", "2.5", "other", "1").code == 0
    found = json.loads(pyshard("item", "key").out)
    assert 2 < found["ttl"] <= 2.5
    assert found["expiry"] - pyshard.cluster.clock.seconds() == pytest.approx(found["ttl"], abs=0.01)
    pyshard("write", "other", "1")
    pyshard.cluster.advance(3)
    assert pyshard("read", "key").code == 1
    assert pyshard("write", "--if-absent", "key", "{}") == Ended(0, "0\n", "")
    assert pyshard("read", "other").code == 0


def test_touch(pyshard: Commands) -> None:
    """A new time to live, or none; the version stays."""
    pyshard("write", "key", "1")
    version = json.loads(pyshard("item", "key").out)["version"]
    assert pyshard("touch", "key", "2") == Ended(0, "", "")
    assert 1 < json.loads(pyshard("item", "key").out)["ttl"] <= 2
    assert pyshard("touch", "key", "never") == Ended(0, "", "")
    pyshard.cluster.advance(3)
    found = json.loads(pyshard("item", "key").out)
    assert (found["ttl"], found["version"]) == (None, version)
    assert pyshard("touch", "key", "0.5").code == 0
    pyshard.cluster.advance(1)
    assert pyshard("touch", "key", "never") == Ended(1, "", 'pyshard: there is no key "key"\n')


def test_incr(pyshard: Commands) -> None:
    """The new value is printed; a key that is missing begins with --initial."""
    assert pyshard("incr", "visits") == Ended(0, "1\n", "")
    assert pyshard("incr", "visits", "--by", "-11") == Ended(0, "-10\n", "")
    assert pyshard("incr", "visits", "--initial", "5") == Ended(0, "-9\n", "")
    assert pyshard("incr", "stock", "--initial=100", "--by=-3") == Ended(0, "97\n", "")
    assert pyshard("incr", "--by", '{"$int": "0x10"}', "stock") == Ended(0, "113\n", "")
    assert pyshard("read", "stock") == Ended(0, "113\n", "")


@pytest.mark.parametrize("doc", ["text", "1.5", "true", "null", "[1]"])
def test_incr_of_something_else(pyshard: Commands, doc: str) -> None:
    """A document that is no integer is refused, with exit code 5, and stays."""
    pyshard("write", "key", doc)
    before = pyshard("item", "key").out
    ended = pyshard("incr", "key")
    assert (ended.code, ended.out) == (5, "")
    assert "increment takes an int" in ended.error
    assert pyshard("item", "key").out == before


def test_remove_of_an_empty_document(pyshard: Commands) -> None:
    """An empty document has the size 0, and is removed all the same."""
    pyshard("write", "key", "[]")
    assert pyshard("remove", "key") == Ended(0, "0\n", "")
    assert pyshard("remove", "key").code == 1


@pytest.mark.parametrize("doc", ["-5", "-0.5", "-1e3", "-Infinity"])
def test_negative_numbers(pyshard: Commands, doc: str) -> None:
    """A negative number is no option, neither as a document nor as a key."""
    assert pyshard("write", doc, doc).code == 0
    assert pyshard("keys").out == f"{doc}\n"
    assert float(pyshard("read", doc).out) == float(doc)


def test_bytes_and_nan(pyshard: Commands) -> None:
    """What JSON can't carry has its representation, both ways."""
    for doc in ('{"$bytes": "AAH/"}', "NaN", "-Infinity", '{"$$bytes": 1}'):
        assert pyshard("write", "key", doc).code == 0
        assert pyshard("read", "key") == Ended(0, f"{doc}\n", "")


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
