"""The token of a server, and the sessions of browsers that have given it."""

from __future__ import annotations

import hashlib
import hmac

from spcl.serve.settings import Token

COOKIE = "spcl_session"
_PURPOSE = b"spcl serve: session of a browser"


class Sessions:
    """Checks tokens and cookies.

    A cookie is a keyed hash of the token: it does not show the token, and holds until the token changes.

    Args:
        token: The token of the server.
    """

    def __init__(self, token: Token) -> None:
        self.token = token
        self.cookie = hmac.new(token.value.encode(), _PURPOSE, hashlib.sha256).hexdigest()

    def is_open(self, cookie: str) -> bool:
        """Whether a cookie is that of a browser that has given the token."""
        return hmac.compare_digest(self.cookie.encode(), cookie.encode("utf-8", "surrogateescape"))
