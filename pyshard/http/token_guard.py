"""Who may look at a daemon's figures: whoever presents one of its tokens (``Authorization: Bearer``)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from pyshard.security.tokens_and_roles import Role, Tokens

#: A secret with some room for the scheme's name and spaces; what is longer is no token of anybody.
_LONGEST = 1024


class TokenGuard:
    """Tells the role of who asks.

    :param tokens: gives the tokens that are valid now; None: whoever asks may do everything.
    """

    def __init__(self, tokens: Callable[[], Tokens] | None) -> None:
        self._tokens = tokens

    @property
    def wants_token(self) -> bool:
        """Whether it takes a token to see figures."""
        return self._tokens is not None

    def role_of(self, request: Request) -> Role | None:
        """The role of who asks; None: they have presented no valid token.

        Any role may read figures.
        """
        if self._tokens is None:
            return Role.ADMIN
        presented = request.requestHeaders.getRawHeaders(b"authorization", [])
        if len(presented) != 1 or len(presented[0]) > _LONGEST:
            return None
        scheme, _, secret = presented[0].partition(b" ")
        return self._tokens().role_of(secret.strip()) if scheme.lower() == b"bearer" else None
