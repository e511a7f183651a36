"""The static tokens of a cluster: one for each part, one for the person, one for builds, and the webhook's secret.

Law: made once, kept in one file only its owner can read; what is handed to the API server is their hashes. IO: the
file `tokens.json`.
"""

from __future__ import annotations

import hmac
import secrets

import msgspec

from funcs.errors import Invalid
from runtimes.cluster.api.roles import BROKER_USER, GATEWAY_USER, NODE_USER
from runtimes.cluster.api.users import MASTERS, StaticToken, StaticTokens, static_token

from .places import Places, write_atomically

ADMIN_USER = "kubernetes-admin"
BUILDER_USER = "funcs:builder"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """`builder` may write to registry and git only; `webhook` signs what the git server posts."""

    admin: str
    node: str
    gateway: str
    broker: str
    builder: str
    webhook: str

    def static(self) -> StaticTokens:
        """What the API server knows."""
        users = ((ADMIN_USER, self.admin), (NODE_USER, self.node), (GATEWAY_USER, self.gateway))
        found: list[StaticToken] = [
            static_token(
                user, (MASTERS,) if user == ADMIN_USER else ("system:nodes",) if user == NODE_USER else (), token
            )
            for user, token in (*users, (BROKER_USER, self.broker))
        ]
        return StaticTokens(found)

    def hub_user(self, token: str) -> str | None:
        """Who may write to registry and git with this token."""
        given = token.encode(errors="surrogateescape")
        found = None
        for user, known in ((ADMIN_USER, self.admin), (BUILDER_USER, self.builder)):
            if hmac.compare_digest(known.encode(), given):
                found = user
        return found


def ensure(places: Places) -> Credentials:
    """Read the tokens, or make them at the first start. Raises Invalid for a damaged file."""
    try:
        return msgspec.json.decode(places.tokens.read_bytes(), type=Credentials)
    except FileNotFoundError:
        made = Credentials(**{name: secrets.token_urlsafe(32) for name in Credentials.__struct_fields__})
        write_atomically(places.tokens, msgspec.json.encode(made))
        return made
    except msgspec.DecodeError as error:
        raise Invalid(f"{places.tokens} is damaged: {error}", hint="Restore it, or `funcs down --purge`.") from error
