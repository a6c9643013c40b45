"""Roles and tokens: what a token file may say, which role a secret gives, and that no secret is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import ConfigError
from pyshard.security.tokens_and_roles import ROLES, Role, Token, Tokens, parse

SECRET = "sixteen-letters!"
OTHER = "another secret".replace(" ", "-") + "-2"

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=256)
ROLE = st.sampled_from(Role)


def refusal(text: str) -> str:
    """Why a text is refused; empty when it isn't."""
    try:
        parse(text)
    except ConfigError as error:
        return str(error)
    return ""


def test_roles_are_ordered() -> None:
    """Each role may do what the ones before it may; files and messages have them in lower case."""
    assert Role.READ < Role.BACKUP < Role.WRITE < Role.ADMIN
    assert list(ROLES) == ["read", "backup", "write", "admin"]
    assert [ROLES[role.word] for role in Role] == list(Role)


def test_parse() -> None:
    """Each line is a role and a secret, with any white space; comments and empty lines are skipped."""
    text = f"# the cluster's\n\n  admin\t{SECRET}  \r\nread {OTHER}\n#write {SECRET}x\n"
    assert parse(text) == Tokens((Token(Role.ADMIN, SECRET.encode()), Token(Role.READ, OTHER.encode())))


def test_byte_order_mark() -> None:
    """A file that begins with one, as some editors write it, has the same tokens."""
    assert parse(f"\ufeffadmin {SECRET}\n") == parse(f"admin {SECRET}")


def test_several_of_one_role() -> None:
    """Old and new tokens of one role are valid together, in the order of the file."""
    tokens = parse(f"write {SECRET}\nwrite {OTHER}")
    assert tokens.role_of(SECRET.encode()) is tokens.role_of(OTHER.encode()) is Role.WRITE
    assert tokens.first() == tokens.first(Role.WRITE) == Token(Role.WRITE, SECRET.encode())
    assert tokens.first(Role.ADMIN) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t: found no token, expected lines such as 'write SECRET'; 'pyshard token' makes one"),
        ("# admin x\n\n", "t: found no token, expected lines such as 'write SECRET'; 'pyshard token' makes one"),
        (SECRET, "t, line 1: found one word, expected a role and a secret; 'pyshard token' makes a line"),
        (
            f"\nread {SECRET} x",
            "t, line 2: found 3 words, expected a role and a secret; 'pyshard token' makes a line",
        ),
        (f"{SECRET} read", "t, line 1: expected a role at its beginning, one of read, backup, write, admin"),
        (f"Read {SECRET}", "t, line 1: expected a role at its beginning, one of read, backup, write, admin"),
        (f"read {SECRET[1:]}", "t, line 1: found a secret of 15 characters, expected 16 to 256"),
        (f"read {'x' * 257}", "t, line 1: found a secret of 257 characters, expected 16 to 256"),
        (f"read {SECRET}é", "t, line 1: found other characters in the secret than printable ASCII ones"),
        (f"read {SECRET}\0", "t, line 1: found other characters in the secret than printable ASCII ones"),
        (f"read {SECRET}\n#\nadmin {SECRET}", "t, line 3: found the secret of line 1 again"),
    ],
)
def test_refused(text: str, message: str) -> None:
    """The message names file and line and what was expected; it never shows what may be a secret."""
    with pytest.raises(ConfigError) as refused:
        parse(text, "t")
    assert str(refused.value) == message


@pytest.mark.parametrize("length", [16, 256])
def test_lengths_of_secrets(length: int) -> None:
    """16 to 256 characters are a secret."""
    assert parse("read " + "x" * length).role_of(b"x" * length) is Role.READ


@given(st.lists(st.tuples(ROLE, SECRETS), min_size=1, max_size=5, unique_by=lambda pair: pair[1]))
def test_what_was_written_is_read(pairs: list[tuple[Role, str]]) -> None:
    """Any roles and secrets come back as they were written, and each secret has its role."""
    tokens = parse("\n".join(f"{role.word} {secret}" for role, secret in pairs))
    assert [(token.role, token.secret.decode()) for token in tokens.tokens] == pairs
    assert [tokens.role_of(secret.encode()) for _, secret in pairs] == [role for role, _ in pairs]


@given(st.text(max_size=200), SECRETS)
def test_no_text_shows_what_it_holds(text: str, secret: str) -> None:
    """Whatever stands in a file, it is parsed or refused by a `ConfigError` of one line, without a secret in it."""
    for broken in (text, f"{text} {secret}", f"{secret} {text}"):
        message = refusal(broken)
        assert secret not in message
        assert "\n" not in message


@given(SECRETS, st.binary(max_size=300))
def test_wrong_secrets(secret: str, presented: bytes) -> None:
    """Only the whole secret counts: no beginning of it, nothing longer, no other bytes."""
    tokens = parse(f"admin {secret}")
    wrong = {presented, b"", secret[:-1].encode(), secret.encode() + b"x", secret.swapcase().encode()}
    assert {tokens.role_of(guess) for guess in wrong - {secret.encode()}} == {None}


def test_every_token_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is compared with every token, even after a match."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert parse(f"read {SECRET}\nadmin {OTHER}").role_of(SECRET.encode()) is Role.READ
    assert compared == [SECRET.encode(), OTHER.encode()]


def test_a_repr_shows_no_secret() -> None:
    """Tokens can be printed, logged, and shown in a traceback."""
    tokens = parse(f"admin {SECRET}")
    assert repr(tokens) == "Tokens(tokens=(Token(role=<Role.ADMIN: 4>),))"
    assert SECRET not in f"{tokens} {tokens.tokens[0]!s} {tokens.tokens[0]!r}"
