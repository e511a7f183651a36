"""Kinds that are created and never stored: who am I, may I, whose token is this.

Law: a review is answered from the same authenticator and the same rules that requests pass, so it cannot disagree with
them. IO: what the authenticator does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.errors import BadRequest, Unauthorized

from . import rbac
from .calls import Call, answer
from .rbac import Attributes, Reader
from .users import MASTERS, User

_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"

Authenticate = Callable[[str, tuple[str, ...]], Awaitable[User]]


def _review(group: str, kind: str, *, namespaced: bool = False) -> Kind:
    return Kind(group=group, version="v1", kind=kind, plural=f"{kind.lower()}s", namespaced=namespaced, status=False)


TOKEN_REVIEW = _review(_AUTHENTICATION, "TokenReview")
SELF_SUBJECT_REVIEW = _review(_AUTHENTICATION, "SelfSubjectReview")
SUBJECT_ACCESS_REVIEW = _review(_AUTHORIZATION, "SubjectAccessReview")
LOCAL_SUBJECT_ACCESS_REVIEW = _review(_AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True)
SELF_SUBJECT_ACCESS_REVIEW = _review(_AUTHORIZATION, "SelfSubjectAccessReview")
SELF_SUBJECT_RULES_REVIEW = _review(_AUTHORIZATION, "SelfSubjectRulesReview")
REVIEWS = (
    TOKEN_REVIEW, SELF_SUBJECT_REVIEW, SUBJECT_ACCESS_REVIEW, LOCAL_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reviews:
    """`authenticate` tells whose a token is for one of some audiences, or raises Unauthorized."""

    reader: Reader
    authenticate: Authenticate
    audience: str

    async def create(self, call: Call, kind: Kind) -> Response:
        body = call.object()
        spec = body.get("spec") or {}
        if not isinstance(spec, dict):
            raise BadRequest("spec: must be a mapping")
        made = {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": await self._status(call, kind, spec),
        }
        if kind == SELF_SUBJECT_REVIEW:
            del made["spec"]
        return answer(call, made, code=201)

    async def _status(self, call: Call, kind: Kind, spec: Object) -> Object:
        match kind.kind:
            case "TokenReview":
                return await self._token(spec)
            case "SelfSubjectReview":
                return {"userInfo": _user_info(call.user)}
            case "SelfSubjectRulesReview":
                return self._rules(call.user, str(spec.get("namespace") or ""))
            case "SelfSubjectAccessReview":
                return self._access(call.user, spec, "")
            case _:
                return self._access(_subject(spec), spec, call.info.namespace)

    async def _token(self, spec: Object) -> Object:
        audiences = tuple(str(audience) for audience in spec.get("audiences") or ()) or (self.audience,)
        try:
            user = await self.authenticate(str(spec.get("token") or ""), audiences)
        except Unauthorized:
            return {"authenticated": False, "user": {}, "error": "the token is not known, has expired or is for others"}
        return {"authenticated": True, "user": _user_info(user), "audiences": list(audiences)}

    def _access(self, user: User, spec: Object, namespace: str) -> Object:
        wanted = _attributes(spec)
        if namespace and wanted.namespace != namespace:
            raise BadRequest("spec.resourceAttributes.namespace must match the namespace of the review")
        return {"allowed": True} if rbac.is_allowed(user, wanted, self.reader) else {"allowed": False}

    def _rules(self, user: User, namespace: str) -> Object:
        if not namespace:
            raise BadRequest("no namespace on request")
        held = list(rbac.rules_for(user, namespace, self.reader))
        if MASTERS in user.groups:
            every: Object = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            held = [every, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        return {
            "resourceRules": [rule for rule in held if "resources" in rule],
            "nonResourceRules": [rule for rule in held if "nonResourceURLs" in rule],
            "incomplete": False,
        }


def _attributes(spec: Object) -> Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(path, dict) and not resource:
        return Attributes(verb=_text(path, "verb"), path=_text(path, "path") or "/")
    if not isinstance(resource, dict) or path:
        raise BadRequest("spec: exactly one of resourceAttributes or nonResourceAttributes must be given")
    return Attributes(
        verb=_text(resource, "verb"),
        group=_text(resource, "group"),
        resource=_text(resource, "resource"),
        subresource=_text(resource, "subresource"),
        namespace=_text(resource, "namespace"),
        name=_text(resource, "name"),
    )


def _subject(spec: Object) -> User:
    name, groups = _text(spec, "user"), spec.get("groups") or []
    if not name and not groups:
        raise BadRequest("spec: at least one of user or groups must be given")
    return User(name, tuple(str(group) for group in groups), _text(spec, "uid"))


def _user_info(user: User) -> Object:
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {name: list(values) for name, values in user.extra.items()}
    return info


def _text(found: Mapping[str, object], name: str) -> str:
    return str(found.get(name) or "")
