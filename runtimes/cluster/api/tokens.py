"""Service-account tokens: JSON web tokens as Kubernetes issues them, signed ES256.

Law: one algorithm, one issuer; a token names its service account, its audiences and, when bound, the object it dies
with. Checking against live objects is the caller's. Sources: RFC 7519, Kubernetes' TokenRequest API. No IO.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from funcs.api.meta import Object
from funcs.errors import Unauthorized

from .users import AUTHENTICATED, User

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = ISSUER
_PREFIX = "system:serviceaccount:"
_LONGEST = 16 * 1024
_HALF = 32  # bytes of each of the two numbers of a P-256 signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says. `bound` is {"kind", "name", "uid"} of the object it was bound to, if any."""

    namespace: str
    name: str
    uid: str
    audiences: tuple[str, ...]
    issued: float
    expires: float
    id: str = ""
    bound: Object | None = None

    @property
    def user(self) -> User:
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={self.id}",)} if self.id else {}
        if self.bound and self.bound.get("kind") == "Pod":
            extra["authentication.kubernetes.io/pod-name"] = (str(self.bound.get("name")),)
            extra["authentication.kubernetes.io/pod-uid"] = (str(self.bound.get("uid")),)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", AUTHENTICATED)
        return User(f"{_PREFIX}{self.namespace}:{self.name}", groups, self.uid, extra)


class TokenKey:
    """The cluster's signing key for service-account tokens (P-256)."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(public)
        self.id = _encode(digest.finalize())

    def sign(self, claims: Claims) -> str:
        signed = f"{_json({'alg': 'ES256', 'kid': self.id, 'typ': 'JWT'})}.{_json(_payload(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(_HALF, 'big') + s.to_bytes(_HALF, 'big'))}"

    def verify(self, token: str, audiences: Sequence[str], now: float) -> Claims:
        """Raises Unauthorized for anything but a token of ours, of now, for one of `audiences`."""
        try:
            head, body, signature = token[:_LONGEST].split(".")
            if _read(head).get("alg") != "ES256":
                raise Unauthorized("Unauthorized")
            raw = _decode(signature)
            r, s = int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
            der = encode_dss_signature(r, s)
            self._key.public_key().verify(der, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
            claims = _claims(_read(body))
        except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature) as error:
            raise Unauthorized("Unauthorized") from error
        if not claims.issued - 60 <= now < claims.expires or not set(audiences) & set(claims.audiences):
            raise Unauthorized("Unauthorized")
        return claims

    def jwks(self) -> Object:
        """The public half, as `/openid/v1/jwks` serves it."""
        numbers = self._key.public_key().public_numbers()
        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "EC",
                    "kid": self.id,
                    "crv": "P-256",
                    "alg": "ES256",
                    "x": _encode(numbers.x.to_bytes(_HALF, "big")),
                    "y": _encode(numbers.y.to_bytes(_HALF, "big")),
                }
            ]
        }


def is_service_account_token(token: str) -> bool:
    """Whether a bearer token has the shape of one; says nothing of its worth."""
    return token.count(".") == 2


def discovery(base: str) -> Object:
    """`/.well-known/openid-configuration`; `base` is where this server is reached."""
    return {
        "issuer": ISSUER,
        "jwks_uri": f"{base}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def _payload(claims: Claims) -> Object:
    kubernetes: Object = {
        "namespace": claims.namespace,
        "serviceaccount": {"name": claims.name, "uid": claims.uid},
    }
    if claims.bound:
        kubernetes[str(claims.bound["kind"]).lower()] = {"name": claims.bound["name"], "uid": claims.bound["uid"]}
    return {
        "iss": ISSUER,
        "sub": f"{_PREFIX}{claims.namespace}:{claims.name}",
        "aud": list(claims.audiences),
        "iat": int(claims.issued),
        "nbf": int(claims.issued),
        "exp": int(claims.expires),
        "jti": claims.id,
        "kubernetes.io": kubernetes,
    }


def _claims(payload: Object) -> Claims:
    if payload["iss"] != ISSUER:
        raise ValueError("of another issuer")
    kubernetes = payload["kubernetes.io"]
    bound = next(
        (
            {"kind": kind, **kubernetes[kind.lower()]}
            for kind in ("Pod", "Secret", "Node")
            if kind.lower() in kubernetes
        ),
        None,
    )
    return Claims(
        namespace=str(kubernetes["namespace"]),
        name=str(kubernetes["serviceaccount"]["name"]),
        uid=str(kubernetes["serviceaccount"]["uid"]),
        audiences=tuple(str(audience) for audience in payload["aud"]),
        issued=float(payload["iat"]),
        expires=float(payload["exp"]),
        id=str(payload.get("jti", "")),
        bound=bound,
    )


def _json(value: object) -> str:
    return _encode(msgspec.json.encode(value))


def _read(text: str) -> dict[str, Any]:
    return msgspec.json.decode(_decode(text), type=dict[str, Any])


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
