"""Who may do what in the registry: Basic or Bearer, both carrying one of our tokens.

Law: writes need a token; reads are open if the settings of the place say so. Docker asks for a Bearer token when it
is challenged, so there is a token endpoint, which hands back the token that came as a Basic password, or, to those
who bring none, a word that stands for nobody. Nothing here is logged. No IO.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from funcs.errors import Unauthorized

Action = Literal["pull", "push", "delete", "login"]
NOBODY = "anonymous"


class Authorize(Protocol):
    """The user's name, or raises Unauthorized (nobody we know) or Forbidden (may not). Header names are lower case."""

    def __call__(self, headers: Mapping[str, str], repository: str, action: Action) -> str: ...


def by_token(user_of: Callable[[str], str | None], *, open_reads: bool = True) -> Authorize:
    """An Authorize over tokens; `user_of(token)` is the user's name or None."""

    def authorize(headers: Mapping[str, str], repository: str, action: Action) -> str:
        token = token_of(headers)
        if token:
            user = user_of(token)
            if user is not None:
                return user
            raise Unauthorized("the token is not one of this registry's", hint="Log in again with a valid token.")
        if action == "pull" and open_reads:
            return NOBODY
        raise Unauthorized(f"{action} of {repository or 'the registry'} needs a token", hint="Log in with a token.")

    return authorize


def token_of(headers: Mapping[str, str]) -> str:
    """The token in an Authorization header: a bearer's, or the password of Basic. "" is nobody.

    Raises Unauthorized if the header is neither.
    """
    header = headers.get("authorization", "")
    scheme, _, value = header.partition(" ")
    if not header or (scheme.lower() == "bearer" and value.strip() == NOBODY):
        return ""
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            pass
    raise Unauthorized("the Authorization header is neither Bearer nor Basic")
