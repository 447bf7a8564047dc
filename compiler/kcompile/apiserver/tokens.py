"""Bearer tokens: those that the server was started with, and those that it has issued for a time."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Collection

from .status import unauthorized

__all__ = ["Tokens"]

_PREFIX = "Bearer "


class Tokens:
    """`given`: the tokens that are always good; None where none is asked for. Not kept over a restart."""

    def __init__(self, given: Collection[str] | None) -> None:
        self._given = given
        self._issued: dict[str, float] = {}  # until when, on the monotonic clock

    def check(self, header: str) -> None:
        """Raise StatusError 401, where the header Authorization has no token that is good."""
        if self._given is None:
            return
        token = header.removeprefix(_PREFIX)
        good = any(hmac.compare_digest(token.encode(), each.encode()) for each in self._given)
        if not good and self._issued.get(token, 0.0) < time.monotonic():
            raise unauthorized()

    def issue(self, seconds: float) -> str:
        """A new token, good for so long."""
        now = time.monotonic()
        self._issued = {token: end for token, end in self._issued.items() if end > now}
        token = secrets.token_urlsafe(32)
        self._issued[token] = now + seconds
        return token
