"""The everyday subcommands: what they print, and their exit codes."""

from __future__ import annotations

import json

import pytest
from in_process_command import Commands, Ended


def test_get(pyshard: Commands) -> None:
    """The document as `read` prints it; a default only where there is no key."""
    pyshard("write", "key", '{"a": 1}')
    pyshard("write", "null", "null")
    assert pyshard("get", "key") == Ended(0, '{"a": 1}\n', "")
    assert pyshard("get", "null", "--default", "7") == Ended(0, "null\n", "")
    assert pyshard("get", "none") == Ended(1, "", 'pyshard: there is no key "none"\n')
    assert pyshard("get", "none", "--default", "-7") == Ended(0, "-7\n", "")
    assert pyshard("get", "none", "--default", "null") == Ended(0, "null\n", "")
    assert pyshard("get", "none", "--default", "{").code == 2


@pytest.mark.parametrize(("doc", "size"), [("42", "28"), ("{}", "0"), ("[]", "0")])
def test_add_and_replace(pyshard: Commands, doc: str, size: str) -> None:
    """add stores where there is nothing, replace where there is something; for an empty document as well."""
    assert pyshard("replace", "key", doc) == Ended(1, "", 'pyshard: there is no key "key"\n')
    assert pyshard("add", "key", doc) == Ended(0, f"{size}\n", "")
    assert pyshard("add", "key", "1") == Ended(1, "", 'pyshard: key "key" exists; nothing was written\n')
    assert pyshard("get", "key") == Ended(0, f"{doc}\n", "")
    assert pyshard("replace", "key", '"new"') == Ended(0, "52\n", "")
    version = json.loads(pyshard("item", "key").out)["version"]
    assert pyshard("replace", "key", doc, "--if-version", "1") == Ended(
        1, "", 'pyshard: key "key" does not have version 1; nothing was written\n'
    )
    assert pyshard("replace", "key", doc, "--if-version", str(version)) == Ended(0, f"{size}\n", "")
    assert pyshard("get", "key") == Ended(0, f"{doc}\n", "")


@pytest.mark.parametrize("verb", ["add", "replace"])
def test_times_to_live(pyshard: Commands, verb: str) -> None:
    """What is stored with a time to live is gone after it."""
    if verb == "replace":
        pyshard("write", "key", "0")
    assert pyshard(verb, "--ttl", "2", "key", "1").code == 0
    assert 1 < json.loads(pyshard("item", "key").out)["ttl"] <= 2
    assert pyshard(verb, "--ttl", "0", "key", "1").code == 2


def test_touch_if_version(pyshard: Commands) -> None:
    """Only the version that is asked for gets another time to live."""
    pyshard("write", "key", "1")
    version = json.loads(pyshard("item", "key").out)["version"]
    assert pyshard("touch", "key", "5", "--if-version", str(version + 1)) == Ended(
        1, "", f'pyshard: key "key" does not have version {version + 1}; nothing was changed\n'
    )
    assert json.loads(pyshard("item", "key").out)["ttl"] is None
    assert pyshard("touch", "--if-version", str(version), "key", "5") == Ended(0, "", "")
    assert json.loads(pyshard("item", "key").out)["ttl"] <= 5


def test_incr_with_a_time_to_live(pyshard: Commands) -> None:
    """A counter that is made has the time to live; one that exists keeps its own."""
    assert pyshard("incr", "--ttl", "5", "key") == Ended(0, "1\n", "")
    assert pyshard("incr", "--ttl", "500", "key") == Ended(0, "2\n", "")
    assert json.loads(pyshard("item", "key").out)["ttl"] <= 5


def test_locate(pyshard: Commands) -> None:
    """Where a key lies, whether it exists or not."""
    ended = pyshard("locate", "test")
    assert (ended.code, ended.error, ended.out.count("\n")) == (0, "", 1)
    assert json.loads(ended.out) == {
        "hash_": 0.1671936,
        "slot": 1671936,
        "shard": "shard0",
        "address": "127.0.0.1:5050",
    }


def test_count_and_clear(pyshard: Commands) -> None:
    """The number of an index's documents; all of them removed; other indexes keep theirs."""
    pyshard("index", "create", "pages")
    for key in "abc":
        pyshard("write", "--index", "pages", key, "{}")
    pyshard("write", "other", "1")
    assert pyshard("count", "--index", "pages") == Ended(0, "3\n", "")
    assert pyshard("clear", "--yes", "--index", "pages") == Ended(0, "3 documents removed\n", "")
    assert [pyshard("count", "--index", "pages").out, pyshard("count").out] == ["0\n", "1\n"]
    assert pyshard("clear", "--yes") == Ended(0, "1 document removed\n", "")
    for verb in (["count"], ["clear", "--yes"]):
        ended = pyshard(*verb, "--index", "nope")
        assert (ended.code, ended.out) == (5, "")
        assert "there is no index 'nope'" in ended.error


@pytest.mark.parametrize(("options", "name"), [([], "the default index"), (["--index", "pages"], 'the index "pages"')])
def test_clear_wants_a_word_more(pyshard: Commands, options: list[str], name: str) -> None:
    """Without --yes nothing is removed, and the exit code is 2."""
    pyshard("index", "create", "pages")
    pyshard("write", "key", "1", *options)
    ended = pyshard("clear", *options)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error == (
        f"pyshard: this removes all documents of {name}; add --yes to do it; see 'pyshard clear --help'\n"
    )
    assert pyshard("count", *options).out == "1\n"


def test_a_shard_that_is_away(pyshard: Commands) -> None:
    """A count is an error, never a smaller number; so is a clear, which says that a part may be done."""
    for number in range(10):
        pyshard("write", str(number), "1")
    pyshard.cluster.kill_shard("shard1")
    ended = pyshard("count", "--deadline", "1")
    assert (ended.code, ended.out) == (3, "")
    ended = pyshard("clear", "--yes", "--deadline", "1")
    assert (ended.code, ended.out) == (3, "")
    assert ended.error.endswith("(the default index may have lost some documents; clear it again)\n")
