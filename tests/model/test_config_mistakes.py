"""Mistakes in a config file: one line for each way to get it wrong."""

from __future__ import annotations

import json

import msgspec
import pytest
from config_files import SHARDS, file_and, file_with
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import ConfigError
from pyshard.model.config_file import ClusterConfig, parse
from pyshard.settings import settings


def refusal(text: bytes) -> str:
    """The message that refuses `text`."""
    with pytest.raises(ConfigError) as refused:
        parse(text)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # the file
        (b"null", "the file: found null, expected a JSON object"),
        (b"[]", "the file: found [], expected a JSON object"),
        (b'"shards"', 'the file: found "shards", expected a JSON object'),
        (b"{}", "shards: found nothing, expected this field to be given"),
        (file_and(shards=None), "shards: found null, expected a JSON array"),
        (file_and(shards={}), "shards: found {}, expected a JSON array"),
        (file_and(shards=[]), "shards: found none, expected at least one"),
        (file_and(shards=[*SHARDS, 5]), "shards[2]: found 5, expected a JSON object"),
        (file_and(shards=[[]]), "shards[0]: found [], expected a JSON object"),
        (file_and(color=1), "color: found a field that doesn't exist here, expected no such field"),
        (file_and(**{"x" * 61: 1}), f"{'x' * 57}...: found a field that doesn't exist here, expected no such field"),
        (file_and(**{"a\nb": 1}), r"a\nb: found a field that doesn't exist here, expected no such field"),
        # a shard's fields
        *(
            (file_with(1, **{field: ...}), f"shards[1].{field}: found nothing, expected this field to be given")
            for field in ("name", "size", "host", "port")
        ),
        (file_with(prot=1), "shards[0].prot: found a field that doesn't exist here, expected no such field"),
        (file_with(identity=""), "shards[0].identity: found a field that doesn't exist here, expected no such field"),
        (file_with(name=""), 'shards[0].name: found "", expected str of length >= 1'),
        (file_with(name="x" * 101), f'shards[0].name: found "{"x" * 56}..., expected str of length <= 100'),
        (file_with(name=["x" * 56]), f'shards[0].name: found ["{"x" * 56}"], expected str'),
        (file_with(name=["x" * 57]), f'shards[0].name: found ["{"x" * 55}..., expected str'),
        (file_with(name=1), "shards[0].name: found 1, expected str"),
        (
            file_with(name="a\x1b[2J"),
            r"shard 'a\x1b[2J': name: found 'a\x1b[2J', expected characters that can be shown",
        ),
        (
            file_with(name="a", host="h\nh"),
            r"shard 'a': host: found 'h\nh', expected characters that can be shown",
        ),
        (file_with(start=-0.1), "shards[0].start: found -0.1, expected float >= 0.0"),
        (file_with(1, end=1.5), "shards[1].end: found 1.5, expected float <= 1.0"),
        (file_with(start="0"), 'shards[0].start: found "0", expected float'),
        (file_with(start=False), "shards[0].start: found false, expected float"),
        (file_with(start=None), "shards[0].start: found null, expected float"),
        (file_with(1, start=...), "shards[1].start: found nothing, expected start and end to be given, or ranges"),
        (file_with(1, end=...), "shards[1].end: found nothing, expected start and end to be given, or ranges"),
        (
            file_with(1, start=..., end=...),
            "shards[1].start: found nothing, expected start and end to be given, or ranges",
        ),
        (
            file_with(1, ranges=[[0.5, 1]]),
            "shards[1].start: found it beside ranges, expected either ranges, or start and end",
        ),
        (
            file_with(1, start=..., ranges=[]),
            "shards[1].end: found it beside ranges, expected either ranges, or start and end",
        ),
        (file_with(1, start=..., end=..., ranges=None), "shards[1].ranges: found null, expected a JSON array"),
        (file_with(1, start=..., end=..., ranges=[0.5, 1]), "shards[1].ranges[0]: found 0.5, expected a JSON array"),
        (
            file_with(1, start=..., end=..., ranges=[[0.5, 0.7], [0.7]]),
            "shards[1].ranges[1]: found [0.7], expected a JSON array of length 2",
        ),
        (
            file_with(1, start=..., end=..., ranges=[[0.5, 0.7], [0.7, 1.1]]),
            "shards[1].ranges[1][1]: found 1.1, expected float <= 1.0",
        ),
        (
            file_with(1, start=..., end=..., ranges=[[0.5, 0.7], [0.8, 1]]),
            "shard 'shard0.5-1', range [0.8, 1.0): start: found 0.8, a gap after shard 'shard0.5-1', range [0.5, 0.7), "
            "expected 0.7",
        ),
        (
            file_with(1, start=..., end=..., ranges=[[0.5, 0.7], [0.65, 1]]),
            "shard 'shard0.5-1', range [0.65, 1.0): start: found 0.65, an overlap after shard 'shard0.5-1', "
            "range [0.5, 0.7), expected 0.7",
        ),
        (
            file_with(1, start=..., end=..., ranges=[[0.5, 1], [0.2, 0.3]]),
            "shard 'shard0.5-1', range [0.2, 0.3): start: found 0.2, an overlap after shard 'shard0-0.5', expected 0.5",
        ),
        (
            file_with(1, start=..., end=..., ranges=[]),
            "shard 'shard0-0.5': end: found 0.5, a gap before the end of the keyspace, expected 1.0",
        ),
        (
            file_with(end=0.00000001),
            "shard 'shard0-0.5': start and end: found 0.0 and 0.0, expected 0 <= start < end <= 1",
        ),
        (file_with(size=0), "shards[0].size: found 0, expected int >= 1"),
        (file_with(size=-1), "shards[0].size: found -1, expected int >= 1"),
        (file_with(size=2**63), "shards[0].size: found 9223372036854775808, expected int <= 9223372036854775807"),
        (file_with(size=True), "shards[0].size: found true, expected int"),
        (file_with(size=1.5), "shards[0].size: found 1.5, expected int"),
        (file_with(size=1024.0), "shards[0].size: found 1024.0, expected int"),
        (file_with(size="1G"), 'shards[0].size: found "1G", expected int'),
        (file_with(host=""), 'shards[0].host: found "", expected str of length >= 1'),
        (file_with(host="h" * 256), f'shards[0].host: found "{"h" * 56}..., expected str of length <= 255'),
        (file_with(host=None), "shards[0].host: found null, expected str"),
        (file_with(1, port=0), "shards[1].port: found 0, expected int >= 1"),
        (file_with(1, port=65536), "shards[1].port: found 65536, expected int <= 65535"),
        (file_with(1, port="5051"), 'shards[1].port: found "5051", expected int'),
        (file_with(1, port=True), "shards[1].port: found true, expected int"),
        (file_with(1, listen=None), "shards[1].listen: found null, expected str"),
        (file_with(1, listen=5050), "shards[1].listen: found 5050, expected str"),
        (file_with(1, listen=""), 'shards[1].listen: found "", expected str of length >= 1'),
        *(
            (
                file_with(1, listen=text),
                f'shards[1].listen: found "{text}", expected HOST:PORT with a port from 1 to 65535, or a Twisted '
                "server endpoint string such as 'tcp:5050:interface=0.0.0.0'",
            )
            for text in ("0.0.0.0", "0.0.0.0:0", "0.0.0.0:65536", "0.0.0.0:999999", ":5050", "[::]", "tcp:", "5050")
        ),
        # replicas
        (file_with(min_replicas=1), "shards[0].min_replicas: found it without replicas, expected both or neither"),
        (file_with(replicas=[], lease=1), "shards[0].lease: found it without replicas, expected both or neither"),
        (file_with(replicas={}), "shards[0].replicas: found {}, expected a JSON array"),
        (file_with(replicas=[{}]), "shards[0].replicas[0].host: found nothing, expected this field to be given"),
        (
            file_with(replicas=[{"host": "h", "port": 0}]),
            "shards[0].replicas[0].port: found 0, expected int >= 1",
        ),
        (
            file_with(replicas=[{"host": "h", "port": 1, "size": 1}]),
            "shards[0].replicas[0].size: found a field that doesn't exist here, expected no such field",
        ),
        (
            file_with(replicas=[{"host": "h", "port": 1, "listen": "here"}]),
            'shards[0].replicas[0].listen: found "here", expected HOST:PORT with a port from 1 to 65535, or a Twisted '
            "server endpoint string such as 'tcp:5050:interface=0.0.0.0'",
        ),
        (
            file_with(replicas=[{"host": "127.0.0.1", "port": 5050}]),
            "shards[0]: replicas: found ['127.0.0.1:5050', '127.0.0.1:5050'], expected an address for each",
        ),
        (
            file_with(replicas=[{"host": "127.0.0.1", "port": 5051}]),
            "shard 'shard0.5-1': host and port: found 127.0.0.1:5051, which is the address of shard 'shard0-0.5' too, "
            "expected an address for each shard",
        ),
        (
            file_with(replicas=[{"host": "h", "port": 1}], min_replicas=3),
            "shards[0].min_replicas: found 3, expected at most 2, as many as there are",
        ),
        (
            file_with(replicas=[{"host": "h", "port": 1}], min_replicas=0),
            "shards[0].min_replicas: found 0, expected int >= 1",
        ),
        (file_with(replicas=[{"host": "h", "port": 1}], lease=0), "shards[0].lease: found 0, expected float >= 0.1"),
        (file_with(replicas=[{"host": "h", "port": 1}], lease="3s"), 'shards[0].lease: found "3s", expected float'),
        # the bootstrap
        (
            file_and(bootstrap={"listen": "0.0.0.0"}),
            'bootstrap.listen: found "0.0.0.0", expected HOST:PORT with a port from 1 to 65535, or a Twisted server '
            "endpoint string such as 'tcp:5050:interface=0.0.0.0'",
        ),
        (file_and(bootstrap=None), "bootstrap: found null, expected a JSON object"),
        (file_and(bootstrap=["localhost", 9192]), 'bootstrap: found ["localhost",9192], expected a JSON object'),
        (file_and(bootstrap={"port": 0}), "bootstrap.port: found 0, expected int >= 1"),
        (file_and(bootstrap={"port": 65536}), "bootstrap.port: found 65536, expected int <= 65535"),
        (file_and(bootstrap={"host": ""}), 'bootstrap.host: found "", expected str of length >= 1'),
        (
            file_and(bootstrap={"hots": "x"}),
            "bootstrap.hots: found a field that doesn't exist here, expected no such field",
        ),
        # the map
        (
            file_with(end=0.4),
            "shard 'shard0.5-1': start: found 0.5, a gap after shard 'shard0-0.5', expected 0.4",
        ),
        (
            file_with(1, start=0.4),
            "shard 'shard0.5-1': start: found 0.4, an overlap after shard 'shard0-0.5', expected 0.5",
        ),
        (
            file_with(start=0.1),
            "shard 'shard0-0.5': start: found 0.1, a gap after the start of the keyspace, expected 0.0",
        ),
        (
            file_with(1, end=0.9),
            "shard 'shard0.5-1': end: found 0.9, a gap before the end of the keyspace, expected 1.0",
        ),
        (
            file_with(1, end=0.5),
            "shard 'shard0.5-1': start and end: found 0.5 and 0.5, expected 0 <= start < end <= 1",
        ),
        (
            file_with(1, name="shard0-0.5"),
            "shard 'shard0-0.5': name: found it twice, expected a name for each shard",
        ),
        (
            file_with(1, port=5050),
            "shard 'shard0.5-1': host and port: found 127.0.0.1:5050, which is the address of shard 'shard0-0.5' too, "
            "expected an address for each shard",
        ),
    ],
)
def test_mistake_is_one_line(text: bytes, message: str) -> None:
    """The message names the field, what was found there and what was expected."""
    assert refusal(text) == message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{,",
        b"shards: []",
        b"\xff",
        b'"\xff"',
        b"{} {}",
        b"{'shards': []}",
        b'{"shards": NaN}',
        b'{"shards": 1e999}',
        pytest.param(b"[" * 100_000, id="nested 100,000 deep"),
    ],
)
def test_what_is_not_json(text: bytes) -> None:
    """A text that is no JSON is refused in one line that says so."""
    message = refusal(text)
    assert message.startswith("found text that is not JSON (")
    assert message.endswith("), expected an object with 'shards'")
    assert len(message.splitlines()) == 1


anything: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.one_of(
        st.binary(),
        st.builds(lambda value: json.dumps(value).encode(), anything),
        st.builds(file_and, **dict.fromkeys(("shards", "bootstrap"), anything)),
        st.builds(file_with, **dict.fromkeys([*SHARDS[0], "listen"], anything)),
    )
)
def test_garbage_is_a_config_error(text: bytes) -> None:
    """Whatever the bytes are, the answer is a config or ConfigError, never another error."""
    try:
        config = parse(text)
    except ConfigError:
        return
    assert isinstance(config, ClusterConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"shards": [%s]}' % (b"[]," * 200_000 + b"[]"), "shards[0]: found something else, expected a JSON object"),
        (
            b"{%s}" % b",".join(b'"%d": 1' % number for number in range(100_000)),
            "0: found a field that doesn't exist here",
        ),
    ],
)
def test_a_long_text_is_not_taken_in(text: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first mistake ends it: to show what stands there all of it would have to be read."""
    monkeypatch.setattr(msgspec.json, "decode", None)
    assert refusal(text).startswith(message)


def test_more_ranges_than_a_shard_may_have() -> None:
    """They are counted before they are read."""
    ranges = b"[0, 1]," * settings.MAX_SHARD_RANGES + b"[0, 1]"
    text = b'{"shards": [{"name": "a", "size": 1, "host": "h", "port": 1, "ranges": [%s]}]}' % ranges
    assert "expected a JSON array of length <= 1000" in refusal(text)
