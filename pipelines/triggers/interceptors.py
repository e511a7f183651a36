"""Who may pull a trigger: signatures and event types, as GitHub and GitLab send them.

Law: pure; signatures are checked over the raw bytes, before anything is parsed of them, in constant time. Without a
secret, nothing is checked but the type. Source: Tekton Triggers' github and gitlab interceptors. No IO.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from funcs.api.triggers import Interceptor
from funcs.errors import Forbidden, Invalid


class Stopped(Forbidden):
    """The chain ends here, by intent."""

    default_reason = "InterceptorStopped"


def check(interceptor: Interceptor, headers: Mapping[str, str], body: bytes, secret: bytes | None) -> None:
    """`headers` by canonical name; `secret` is what `secretRef` refers to. Raises Stopped, Invalid."""
    match interceptor.ref.name:
        case "github":
            _github(headers, body, secret)
            _type(interceptor, headers.get("X-Github-Event", ""))
        case "gitlab":
            _gitlab(headers, secret)
            _type(interceptor, headers.get("X-Gitlab-Event", ""))
        case name:
            raise Invalid(f"the interceptor {name} is not supported", reason="UnsupportedInterceptor")


def signature(secret: bytes, body: bytes) -> str:
    """The value of `X-Hub-Signature-256`."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def _github(headers: Mapping[str, str], body: bytes, secret: bytes | None) -> None:
    if secret is None:
        return
    given = headers.get("X-Hub-Signature-256", "")
    if not given:
        raise Stopped("no X-Hub-Signature-256 header set")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), signature(secret, body).encode()):
        raise Stopped("payload signature check failed")


def _gitlab(headers: Mapping[str, str], secret: bytes | None) -> None:
    if secret is None:
        return
    given = headers.get("X-Gitlab-Token", "")
    if not given:
        raise Stopped("no X-GitLab-Token header set")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), secret):
        raise Stopped("Invalid X-GitLab-Token")


def _type(interceptor: Interceptor, given: str) -> None:
    allowed = interceptor.param("eventTypes")
    if allowed and given not in allowed:
        raise Stopped(f"event type {given[:64]} is not allowed")
