"""What a client is given to connect with: arguments, URL and environment, and how they go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyshard.errors import ConfigError, InvalidArgument, InvalidIndexName
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping
from pyshard.net.address_parsing import Address
from pyshard.net.connection_parameters import ConnectionParameters, connection_parameters
from pyshard.security.tls import Tls
from pyshard.settings import settings

LOCAL = (Address("localhost", 9192),)
TLS = Tls("/ca", "/c", "/k")
URL = "pyshard://a:1,[::1]/pages?deadline=5&token_file=/t&tls_ca=/ca&tls_certificate=/c&tls_key=/k"
SAME: dict[str, Any] = {"deadline": 5, "token_file": "/t", "tls": TLS, "index": "pages"}


def test_nothing_given() -> None:
    """Without any argument they are the defaults."""
    assert connection_parameters(environment={}) == ConnectionParameters(LOCAL, settings.DEADLINE, None, None, "")


def test_where_to_read() -> None:
    """At primaries, unless the URL or an argument says something else; they mustn't contradict each other."""
    assert connection_parameters("a:1").read_from == "primary"
    assert connection_parameters("a:1", read_from="nearest").read_from == "nearest"
    assert connection_parameters("pyshard://a?read_from=nearest").read_from == "nearest"
    assert connection_parameters("pyshard://a?read_from=nearest", read_from="nearest").read_from == "nearest"
    with pytest.raises(ConfigError, match=r"^read_from: found nearest in the address as a URL, and primary as an arg"):
        connection_parameters("pyshard://a?read_from=nearest", read_from="primary")
    with pytest.raises(InvalidArgument, match=r"^read_from: found 'near', expected 'primary' or 'nearest'$"):
        connection_parameters("a:1", read_from="near")  # type: ignore[arg-type]


def test_arguments() -> None:
    """Arguments are taken as they are, and plain addresses beside them."""
    found = connection_parameters("a:1,b:2", **SAME, environment={})
    assert found == ConnectionParameters((Address("a", 1), Address("b", 2)), 5, "/t", TLS, "pages")
    assert connection_parameters("a:1", token_file="", tls=False, environment={"PYSHARD_TLS_CA": "/x"}) == (
        ConnectionParameters((Address("a", 1),), settings.DEADLINE, "", None, "")
    )


@pytest.mark.parametrize("servers", [URL, [URL], (URL,)])
@pytest.mark.parametrize("arguments", [{}, SAME, {**SAME, "token_file": Path("/t")}])
def test_a_url(servers: Any, arguments: dict[str, Any]) -> None:
    """A URL says the same as arguments; an argument that says the same beside it does no harm."""
    found = connection_parameters(servers, **arguments, environment={})
    assert found == ConnectionParameters((Address("a", 1), Address("::1", 9192)), 5, "/t", TLS, "pages")


def test_a_url_and_other_arguments() -> None:
    """What the URL doesn't say, arguments can."""
    assert connection_parameters("pyshard://a", **SAME) == ConnectionParameters(
        (Address("a", 9192),), 5, "/t", TLS, "pages"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"deadline": 6}, "deadline: found 5.0 in the address as a URL, and 6 as an argument, expected one of the two"),
        ({"token_file": "/u"}, "token_file: found /t in the address as a URL, and /u as"),
        ({"token_file": ""}, "token_file: found /t in the address as a URL, and  as"),
        ({"tls": False}, "tls: found Tls.* in the address as a URL, and False as"),
        ({"tls": Tls("/ca")}, "tls: found Tls.* in the address as a URL, and Tls"),
        ({"index": "books"}, "index: found pages in the address as a URL, and books as"),
    ],
)
def test_contradictions(arguments: dict[str, Any], message: str) -> None:
    """What URL and argument say differently is refused; the message has both."""
    with pytest.raises(ConfigError, match=f"^{message}"):
        connection_parameters(URL, **arguments)


def test_the_environment_comes_last() -> None:
    """The environment says which files of TLS are used when neither URL nor argument does."""
    environment = {"PYSHARD_TLS_CA": "/env"}
    assert connection_parameters("pyshard://a", environment=environment).tls == Tls("/env")
    assert connection_parameters("pyshard://a?tls_ca=/ca", environment=environment).tls == Tls("/ca")
    assert connection_parameters("pyshard://a", tls=False, environment=environment).tls is None


MAPPING = AddressMapping(((("10.0.0.5", 5050), ("db", 15050)),))
ADDRESSES = {"10.0.0.5:5050": "db:15050"}
ADDRESSES_URL = "pyshard://a?address=10.0.0.5:5050=db:15050"
ADDRESSES_VARIABLE = {"PYSHARD_ADDRESSES": "10.0.0.5:5050=db:15050"}


@pytest.mark.parametrize(
    ("server", "addresses", "environment", "expected"),
    [
        ("a:1", None, {}, AS_ANNOUNCED),
        ("a:1", ADDRESSES, {}, MAPPING),
        (ADDRESSES_URL, None, {}, MAPPING),
        (ADDRESSES_URL, ADDRESSES, {}, MAPPING),
        ("a:1", None, ADDRESSES_VARIABLE, MAPPING),
        ("a:1", {}, ADDRESSES_VARIABLE, AS_ANNOUNCED),
        ("a:1", ADDRESSES, {"PYSHARD_ADDRESSES": "c:1=d:1"}, MAPPING),
        (ADDRESSES_URL, None, {"PYSHARD_ADDRESSES": "c:1=d:1"}, MAPPING),
        ("pyshard://a", ADDRESSES, {"PYSHARD_ADDRESSES": "nonsense"}, MAPPING),
    ],
)
def test_addresses_of_shards(
    server: str, addresses: dict[str, str] | None, environment: dict[str, str], expected: AddressMapping
) -> None:
    """Where shards are dialed is said by an argument, the URL or, where neither says it, the environment."""
    found = connection_parameters(server, addresses=addresses, environment=environment)
    assert found.address_mapping == expected


def test_addresses_that_contradict_or_cannot_be() -> None:
    """Two mappings are refused, and one that can't be used; the message says where it stands."""
    with pytest.raises(ConfigError) as refused:
        connection_parameters(ADDRESSES_URL, addresses={"10.0.0.5:5050": "db:1"})
    assert str(refused.value) == (
        "addresses: found 10.0.0.5:5050=db:15050 in the address as a URL, and 10.0.0.5:5050=db:1 as an argument, "
        "expected one of the two"
    )
    with pytest.raises(ConfigError, match=r"^addresses: found 'x', expected HOST:PORT"):
        connection_parameters("a:1", addresses={"x": "b:1"})
    with pytest.raises(ConfigError, match=r"^PYSHARD_ADDRESSES: found 'x', expected ANNOUNCED=DIALED"):
        connection_parameters("a:1", environment={"PYSHARD_ADDRESSES": "x"})


@pytest.mark.parametrize("servers", [["pyshard://a", "b:1"], ["b:1", "pyshard://a"], "b:1,pyshard://a"])
def test_a_url_stands_alone(servers: Any) -> None:
    """A URL among other addresses is refused, since it would be unclear for which of them it speaks."""
    with pytest.raises(ConfigError, match="found an address as a URL among others, expected it alone"):
        connection_parameters(servers)


def test_a_bad_index() -> None:
    """An index that can't be one is refused before anything is sent."""
    with pytest.raises(InvalidIndexName):
        connection_parameters("a:1", index="a/b")
