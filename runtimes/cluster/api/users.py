"""Who is asking: static bearer tokens and service-account tokens.

Law: a token is compared as a hash and in constant time, and is never kept, logged or echoed. No IO: what a
service-account token must still be bound to is looked up through an argument.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from funcs.errors import Unauthorized

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """An identity, as authorization, `kubectl auth whoami` and creator annotations see it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


@dataclass(frozen=True, slots=True)
class StaticToken:
    """One line of tokens.json: who the bearer of a token with this SHA-256 is."""

    name: str
    groups: tuple[str, ...]
    sha256: str = field(repr=False)


def static_token(name: str, groups: Iterable[str], token: str) -> StaticToken:
    return StaticToken(name, tuple(groups), hashlib.sha256(token.encode()).hexdigest())


class StaticTokens:
    """Every entry is compared, found or not, so that time tells nothing."""

    def __init__(self, tokens: Iterable[StaticToken]) -> None:
        self._tokens = tuple(tokens)

    def find(self, token: str) -> User | None:
        given = hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
        found: User | None = None
        for known in self._tokens:
            if hmac.compare_digest(known.sha256, given):
                found = User(known.name, (*known.groups, AUTHENTICATED))
        return found


def bearer(authorization: str) -> str | None:
    """The token of an Authorization header; None without the header. Raises Unauthorized for any other scheme."""
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Unauthorized")
    return token.strip()
