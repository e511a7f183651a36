"""Acting as somebody else (`kubectl --as`), for those who may.

Law: the verb `impersonate` on the very user, groups or service account named is needed; what cannot be checked so is
refused, never ignored. Source: Kubernetes' user impersonation. No IO.
"""

from __future__ import annotations

from starlette.datastructures import Headers

from funcs.errors import BadRequest, Forbidden

from . import rbac
from .rbac import Attributes, Reader
from .users import AUTHENTICATED, User

_ACCOUNT = "system:serviceaccount:"


def acting(user: User, headers: Headers, reader: Reader) -> User:
    """The user whom the request is to be judged as. Raises BadRequest, Forbidden."""
    name, groups = headers.get("impersonate-user", ""), headers.getlist("impersonate-group")
    if any(header.startswith(("impersonate-extra-", "impersonate-uid")) for header in headers):
        raise BadRequest("impersonation of uid and extra is not served here")
    if not name:
        if groups:
            raise BadRequest("requested impersonation of groups without impersonating a user")
        return user
    wanted = [_of_name(name), *(Attributes(verb="impersonate", resource="groups", name=group) for group in groups)]
    for attributes in wanted:
        if not rbac.is_allowed(user, attributes, reader):
            named = f'{attributes.resource} "{attributes.name}"'
            raise Forbidden(f"{named} is forbidden: {rbac.refusal(user, attributes)}")
    return User(name, tuple(dict.fromkeys([*groups, *_account_groups(name), AUTHENTICATED])))


def _of_name(name: str) -> Attributes:
    namespace, colon, account = name.removeprefix(_ACCOUNT).partition(":")
    if name.startswith(_ACCOUNT) and colon:
        return Attributes(verb="impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    return Attributes(verb="impersonate", resource="users", name=name)


def _account_groups(name: str) -> list[str]:
    if not name.startswith(_ACCOUNT):
        return []
    return ["system:serviceaccounts", f"system:serviceaccounts:{name.removeprefix(_ACCOUNT).partition(':')[0]}"]
