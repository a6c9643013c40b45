"""Addresses as URLs: what each part says, and what is refused."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import ConfigError
from pyshard.model.address_mapping import AddressMapping
from pyshard.net.connection_url import ConnectionUrl, is_url, parse_url
from pyshard.security.tls import Tls
from pyshard.settings import settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pyshard://localhost", ConnectionUrl((("localhost", 9192),))),
        ("pyshard://localhost/", ConnectionUrl((("localhost", 9192),))),
        ("pyshard://localhost?", ConnectionUrl((("localhost", 9192),))),
        (" PyShard://localhost:1\n", ConnectionUrl((("localhost", 1),))),
        ("pyshard://a:1,b,a:1", ConnectionUrl((("a", 1), ("b", 9192)))),
        ("pyshard://10.0.0.1:65535", ConnectionUrl((("10.0.0.1", 65535),))),
        ("pyshard://[::1],[fe80::1%25eth0]:5", ConnectionUrl((("::1", 9192), ("fe80::1%eth0", 5)))),
        ("pyshard://b%C3%BCcher", ConnectionUrl((("bücher", 9192),))),
        ("pyshard://a/pages", ConnectionUrl((("a", 9192),), "pages")),
        ("pyshard://a/p%61ges", ConnectionUrl((("a", 9192),), "pages")),
        ("pyshard://a?deadline=5", ConnectionUrl((("a", 9192),), deadline=5)),
        ("pyshard://a/?deadline=.25", ConnectionUrl((("a", 9192),), deadline=0.25)),
        ("pyshard://a/?deadline=1e2", ConnectionUrl((("a", 9192),), deadline=100)),
        ("pyshard://a?token_file=/my%20tokens", ConnectionUrl((("a", 9192),), token_file="/my tokens")),
        ("pyshard://a?token_file=/run/app@1/a+b=c", ConnectionUrl((("a", 9192),), token_file="/run/app@1/a+b=c")),
        ("pyshard://a?tls_ca=system", ConnectionUrl((("a", 9192),), tls=Tls("system"))),
        (
            "pyshard://a/pages?tls_key=/k&tls_certificate=/c&tls_ca=/ca%23&deadline=1",
            ConnectionUrl((("a", 9192),), "pages", 1, tls=Tls("/ca#", "/c", "/k")),
        ),
        (
            "pyshard://a?address=10.0.0.5:5050=db.example.com:15050&deadline=1&address=[::1]:1=[fe80::1%25eth0]:2",
            ConnectionUrl(
                (("a", 9192),),
                deadline=1,
                addresses=AddressMapping(
                    ((("10.0.0.5", 5050), ("db.example.com", 15050)), (("::1", 1), ("fe80::1%eth0", 2)))
                ),
            ),
        ),
        ("pyshard://a?read_from=nearest", ConnectionUrl((("a", 9192),), read_from="nearest")),
        ("pyshard://a?read_from=primary&deadline=1", ConnectionUrl((("a", 9192),), deadline=1, read_from="primary")),
        (
            "pyshard://a?address=b%C3%BCcher%3A1%3Db%3A2",
            ConnectionUrl((("a", 9192),), addresses=AddressMapping(((("bücher", 1), ("b", 2)),))),
        ),
    ],
)
def test_what_a_url_says(text: str, expected: ConnectionUrl) -> None:
    """Hosts, index and options stand where they stand in any URL; what isn't said is None."""
    assert is_url(text)
    assert parse_url(text) == expected


def test_a_host_without_a_port_is_a_bootstrap() -> None:
    """The default port is the default bootstrap's."""
    assert parse_url("pyshard://a").hosts == (("a", settings.BOOTSTRAP_SERVER[1]),)


@pytest.mark.parametrize(
    "given", ["localhost:9192", "pyshard:9192", "tls:pyshard://a", "http://a", "", None, 7, ["a", 1]]
)
def test_what_is_no_url(given: object) -> None:
    """Only what begins with pyshard:// is one."""
    assert not is_url(given)


NAMES = "deadline, token_file, tls_ca, tls_certificate, tls_key, read_from, address"


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "host: found an empty one, expected pyshard://HOST:PORT"),
        ("/pages", "host: found an empty one, "),
        ("a,,b", "host: found an empty one, "),
        ("a,", "host: found an empty one, "),
        (":9192", "host: found ':9192', expected HOST, HOST:PORT or [IPv6 address]:PORT"),
        ("a:", "host: found 'a:', "),
        ("a:x", "host: found 'a:x', "),
        ("::1", "host: found '::1', "),
        ("[::1", "host: found '[::1', "),
        ("[a]", "host: found '[a]', expected an IPv6 address in the brackets"),
        ("a b", "host: found 'a b', expected a name or an IP address"),
        ("a%2Fb", "host: found 'a%2Fb', expected a name or an IP address"),
        ("a%", "host: found 'a%', expected some text, in which %XX stands for"),
        ("a:0", "port: found 0, expected 1 to 65535"),
        ("a:65536", "port: found 65536, expected 1 to 65535"),
        ("a/b/c", "index name 'b/c': expected 1 to 100 letters"),
        ("a/b%2Fc", "index name 'b/c': expected 1 to 100 letters"),
        ("a/b%zz", "index: found 'b%zz', expected some text, in which %XX stands for"),
        ("a/%ff", "index: found '%ff', expected some text"),
        ("a#x", "fragment: found a '#', expected none; in the name of a file it is written %23"),
        ("a?token_file=/t#", "fragment: found a '#', expected none"),
        ("a?color=red", f"query: found 'color', expected {NAMES}"),
        ("a?Deadline=1", f"query: found 'Deadline', expected {NAMES}"),
        ("a?deadline=1&", f"query: found '', expected {NAMES}"),
        ("a?deadline", "deadline: found no value, expected deadline=…"),
        ("a?deadline=", "deadline: found '', expected some text"),
        ("a?deadline=1&deadline=1", "deadline: found twice, expected once"),
        ("a?deadline=0", "deadline: found '0', expected seconds, above 0"),
        ("a?deadline=-1", "deadline: found '-1', expected seconds, above 0"),
        ("a?deadline=nan", "deadline: found 'nan', expected seconds, above 0"),
        ("a?deadline=1e999", "deadline: found '1e999', expected seconds, above 0"),
        ("a?deadline=5s", "deadline: found '5s', expected seconds, above 0"),
        ("a?token_file=/a%00", "token_file: found the character %00, expected text without it"),
        ("a?read_from=near", "read_from: found 'near', expected 'primary' or 'nearest'"),
        ("a?address", "address: found no value, expected address=…"),
        ("a?address=", "address: found '', expected some text"),
        (
            "a?address=b:1",
            "address: found 'b:1', expected ANNOUNCED=DIALED, such as 10.0.0.5:5050=db.example.com:15050",
        ),
        ("a?address=b:1=c", "address: found 'c', expected HOST:PORT with a port from 1 to 65535"),
        ("a?address=b:1=c:0", "address: found 'c:0', expected HOST:PORT with a port from 1 to 65535"),
        ("a?address=b:1=c:1&address=B:1=c:2", "address: found 'b:1' twice, expected each shard's address once"),
        ("a?tls_certificate=/c", "tls_ca: found nothing, beside the certificate or key /c"),
    ],
)
def test_refused(rest: str, message: str) -> None:
    """What can't be used is one error, which names the part, says what was found, and what can stand there."""
    with pytest.raises(ConfigError, match=f"^{re.escape(f'address as a URL: {message}')}"):
        parse_url(f"pyshard://{rest}")


@pytest.mark.parametrize(
    "rest",
    [
        "ann:hunter2@localhost",
        ":hunter2@localhost",
        "localhost,ann:hunter2@b/pages?deadline=1",
        "ann:hunter2/@localhost",
        "ann:/hunter2?@localhost",
        "ann:#hunter2@localhost",
        "ann:p?&hunter2@localhost",
        "localhost?token=hunter2",
        "localhost?deadline=1&password=hunter2",
    ],
)
def test_secrets_are_refused_and_not_shown(rest: str) -> None:
    """A user, a password or a token is refused, whatever characters it has, with the way to name a token's file."""
    with pytest.raises(ConfigError) as refused:
        parse_url(f"pyshard://{rest}")
    assert "token_file=FILE" in str(refused.value)
    assert "hunter2" not in str(refused.value)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
PATHS = WORDS.map(lambda text: f"/{text}")
HOSTS = (
    st.from_regex(r"[a-z0-9ü]([a-z0-9.-]*[a-z0-9])?", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
)
PAIRS = st.tuples(st.tuples(HOSTS, st.integers(1, 65535)), st.tuples(HOSTS, st.integers(1, 65535)))
ADDRESSES = st.lists(PAIRS, min_size=1, unique_by=lambda pair: pair[0]).map(lambda pairs: AddressMapping(tuple(pairs)))
URLS = st.builds(
    ConnectionUrl,
    hosts=st.lists(st.tuples(HOSTS, st.integers(1, 65535)), min_size=1, unique=True).map(tuple),
    index=st.none() | st.from_regex(r"[A-Za-z0-9_.-]{1,100}", fullmatch=True),
    deadline=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    token_file=st.none() | WORDS,
    tls=st.none()
    | st.builds(Tls, PATHS)
    | st.builds(Tls, PATHS, PATHS)
    | st.builds(Tls, PATHS | st.just("system"), PATHS, PATHS),
    addresses=st.none() | ADDRESSES,
)


@given(URLS)
def test_round_trip(url: ConnectionUrl) -> None:
    """Whatever a URL says comes back when it is written and read."""
    assert parse_url(str(url)) == url


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text is an error of another kind."""
    with suppress(ConfigError):
        parse_url(f"pyshard://{text}")
