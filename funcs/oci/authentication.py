"""What a registry asks of us before it answers: Basic, or a bearer token from the server that it names.

Law: a secret travels only over TLS or to this machine; tokens are kept per registry and scope and dropped on 401.
Source: the distribution specification's token authentication. IO: GETs of tokens through the HTTP client given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import httpx
import msgspec

from funcs.errors import Unauthorized

from .credentials import Credential, Credentials
from .reference import is_loopback

_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_LONGEST_CHALLENGE = 4096


@dataclass(frozen=True, slots=True)
class Challenge:
    """A parsed WWW-Authenticate header. `scheme` is in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class Authenticator:
    """Makes Authorization headers; one per client."""

    def __init__(self, client: httpx.AsyncClient, credentials: Credentials) -> None:
        self._client = client
        self._credentials = credentials
        self._headers: dict[tuple[str, str], str] = {}

    def known(self, registry: str, scope: str) -> str:
        """The header that worked before, or ""."""
        return self._headers.get((registry, scope), "")

    async def answer(self, registry: str, repository: str, scope: str, response: httpx.Response) -> str:
        """The header that a 401 asks for. Raises Unauthorized when there is nothing (more) to offer."""
        challenge = parse_challenge(response.headers.get("www-authenticate", ""))
        credential = self._credentials.find(registry, repository)
        if credential is not None:
            _refuse_in_the_clear(response.url)
        header = await self._header(challenge, credential, scope)
        if not header or header == self._headers.get((registry, scope)) == response.request.headers.get(
            "authorization"
        ):
            self._headers.pop((registry, scope), None)
            raise Unauthorized(
                f"{registry} does not accept our credentials for {repository}"
                if credential
                else f"{registry} wants credentials for {repository}, and there are none",
                hint=f"Log in to {registry} (docker login, podman login or skopeo login).",
            )
        self._headers[(registry, scope)] = header
        return header

    async def _header(self, challenge: Challenge, credential: Credential | None, scope: str) -> str:
        if credential is not None and credential.bearer:
            return f"Bearer {credential.bearer}"
        if challenge.scheme == "basic":
            return credential.basic if credential is not None and credential.user else ""
        if challenge.scheme == "bearer":
            return f"Bearer {await self._token(challenge, credential, scope)}"
        return ""

    async def _token(self, challenge: Challenge, credential: Credential | None, scope: str) -> str:
        realm = httpx.URL(challenge.parameters.get("realm", ""))
        if realm.scheme not in ("http", "https") or not realm.host:
            raise Unauthorized("the registry's challenge names no token server")
        _refuse_in_the_clear(realm)
        asked = {"service": challenge.parameters.get("service", ""), "scope": scope}
        if credential is not None and credential.identity_token:
            form = asked | {
                "grant_type": "refresh_token",
                "refresh_token": credential.identity_token,
                "client_id": "funcs",
            }
            response = await self._client.post(realm, data=form)
        else:
            headers = {"authorization": credential.basic} if credential is not None and credential.user else {}
            response = await self._client.get(realm.copy_merge_params(asked), headers=headers)
        if response.status_code != 200:
            raise Unauthorized(f"the token server {realm.host} answers {response.status_code}")
        try:
            found = msgspec.json.decode(response.content, type=_Token)
        except msgspec.MsgspecError as error:
            raise Unauthorized(f"the token server {realm.host} sends no token") from error
        token = found.token or found.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise Unauthorized(f"the token server {realm.host} sends no token")
        return token


def parse_challenge(header: str) -> Challenge:
    """The first challenge of a WWW-Authenticate header; one of scheme "" if there is none."""
    scheme, _, rest = header[:_LONGEST_CHALLENGE].strip().partition(" ")
    found = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
    return Challenge(scheme.lower(), found)


def _refuse_in_the_clear(url: httpx.URL) -> None:
    if url.scheme != "https" and not is_loopback(url.host):
        raise Unauthorized(f"credentials are not sent to {url.host} without TLS")
