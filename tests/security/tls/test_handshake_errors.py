"""Why a handshake failed, in plain words."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pyshard.security.tls.handshake_errors import closed_unanswered, in_words, tls_error


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["sslv3 alert certificate expired"], "the peer refuses this side's certificate: it has expired"),
        (["ssl/tls alert bad certificate"], "the peer refuses this side's certificate"),
        (["tlsv13 alert certificate required"], "the peer wants a certificate of this side, which shows none"),
        (["tlsv1 alert internal error"], "the peer ended the handshake: internal error"),
        (["wrong version number"], "the peer doesn't speak TLS"),
        (["certificate verify failed"], "the peer's certificate can't be verified"),
        (["something", "http request"], "the peer doesn't speak TLS"),
        (["odd"], "TLS failed: odd"),
        ([], "TLS failed: Error"),
    ],
)
def test_in_words(texts: list[str], expected: str) -> None:
    """OpenSSL's errors become plain words."""
    from OpenSSL.SSL import Error

    assert in_words(Error([("SSL routines", "", text) for text in texts])) == expected


def test_what_is_no_failure_of_tls() -> None:
    """A connection without TLS, or one that ended for another reason, isn't taken for a failure of TLS."""
    assert tls_error(Failure(ConnectionDone()), object(), False) is None
    assert closed_unanswered(Failure(ConnectionDone())) is not None
    assert closed_unanswered(Failure(ValueError())) is None
