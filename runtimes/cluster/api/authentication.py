"""From an Authorization header to a user, and from a TokenRequest to a token.

Law: a service-account token is worth what its account and its bound object are worth now: both must still be there
with the same uid. IO: the Client, for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from funcs.api import meta
from funcs.api.core import NODE, POD, SECRET, SERVICE_ACCOUNT
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.ids import Ids
from funcs.errors import BadRequest, FieldError, Invalid, NotFound, Unauthorized

from . import tokens, users
from .tokens import Claims, TokenKey
from .users import ANONYMOUS, StaticTokens, User

_SHORTEST, _LONGEST = 600, 1 << 32  # seconds, as TokenRequest allows
_DAY = 86400.0
_BOUND = {"Pod": POD, "Secret": SECRET, "Node": NODE}


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Static tokens first, then service-account tokens; no header is the anonymous user."""

    static: StaticTokens
    key: TokenKey
    client: Client
    clock: Clock

    async def user(self, authorization: str) -> User:
        """Raises Unauthorized."""
        token = users.bearer(authorization)
        return ANONYMOUS if token is None else await self.bearer(token, (tokens.AUDIENCE,))

    async def bearer(self, token: str, audiences: tuple[str, ...]) -> User:
        """Static tokens are for this server alone. Raises Unauthorized."""
        found = self.static.find(token) if tokens.AUDIENCE in audiences else None
        if found is not None:
            return found
        if not tokens.is_service_account_token(token):
            raise Unauthorized("Unauthorized")
        claims = self.key.verify(token, audiences, self.clock.now())
        await self._still_there(SERVICE_ACCOUNT, claims.name, claims.namespace, claims.uid)
        if claims.bound is not None:
            kind = _BOUND[claims.bound["kind"]]
            await self._still_there(kind, claims.bound["name"], claims.namespace, claims.bound["uid"])
        return claims.user

    async def _still_there(self, kind: Kind, name: str, namespace: str, uid: str) -> None:
        try:
            found = await self.client.get(kind, name, namespace if kind.namespaced else None)
        except NotFound as error:
            raise Unauthorized("Unauthorized") from error
        if meta.uid(found) != uid:
            raise Unauthorized("Unauthorized")


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Answers TokenRequests; the engine calls `issue` as its hook for the subresource `token`."""

    key: TokenKey
    clock: Clock
    ids: Ids

    async def issue(self, kind: Kind, account: Object, request: Object) -> Object:
        """Raises BadRequest, Invalid."""
        spec = request.get("spec") or {}
        if not isinstance(spec, dict):
            raise BadRequest("spec: must be a mapping")
        now, seconds = self.clock.now(), _seconds(spec)
        audiences = [str(audience) for audience in spec.get("audiences") or ()] or [tokens.AUDIENCE]
        claims = Claims(
            namespace=meta.namespace(account), name=meta.name(account), uid=meta.uid(account),
            audiences=tuple(audiences), issued=now, expires=now + seconds, id=self.ids.uid(), bound=_bound(spec),
        )  # fmt: skip
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": claims.name, "namespace": claims.namespace, "creationTimestamp": meta.timestamp(now)},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": int(seconds)},
            "status": {"token": self.key.sign(claims), "expirationTimestamp": meta.timestamp(claims.expires)},
        }


def _seconds(spec: Object) -> float:
    asked = spec.get("expirationSeconds", 3600)
    if isinstance(asked, bool) or not isinstance(asked, int) or not _SHORTEST <= asked <= _LONGEST:
        problem = FieldError(
            "Invalid value", "spec.expirationSeconds", "may not specify a duration less than 10 minutes"
        )
        raise Invalid(f'TokenRequest "" is invalid: {problem}', causes=[problem])
    return float(min(asked, 365 * _DAY))


def _bound(spec: Object) -> Object | None:
    reference = spec.get("boundObjectRef")
    if not reference:
        return None
    if not isinstance(reference, dict) or reference.get("kind") not in _BOUND or not reference.get("name"):
        raise BadRequest("spec.boundObjectRef: must name a Pod, a Secret or a Node")
    if not reference.get("uid"):
        raise BadRequest("spec.boundObjectRef.uid: is needed, so that the token dies with that very object")
    return {"kind": str(reference["kind"]), "name": str(reference["name"]), "uid": str(reference["uid"])}
