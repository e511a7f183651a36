"""What is served beside resources: version, health, discovery, OpenAPI, keys.

Law: documents only; nothing here reads or writes a resource. No IO.
"""

from __future__ import annotations

import platform

from starlette.responses import Response

from funcs.api.meta import Object
from funcs.errors import NotFound, Unsupported

from . import discovery, media, openapi, tokens
from .calls import Call, answer
from .discovery import Discovery
from .openapi import OpenApi
from .tokens import TokenKey

EMULATED = ("1", "32")  # the Kubernetes release whose API this is
_HEALTH = ("healthz", "livez", "readyz")


class Public:
    def __init__(self, found: Discovery, openapi: OpenApi, key: TokenKey, version: str) -> None:
        self._discovery, self._openapi, self._key, self._version = found, openapi, key, version

    def serve(self, call: Call, method: str) -> Response:
        """Raises NotFound, NotAcceptable, Unsupported."""
        if method not in ("GET", "HEAD"):
            raise Unsupported("the server does not allow this method on the requested resource")
        segments = call.info.path.strip("/").split("/")
        match segments:
            case [""]:
                return answer(call, {"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]})
            case ["version"]:
                return answer(call, self._version_document())
            case [health, *_] if health in _HEALTH:
                return Response("ok", media_type="text/plain")
            case ["api" | "apis", *rest]:
                return self._discover(call, segments[0], rest)
            case ["openapi", *rest]:
                return self._open(call, rest)
            case [".well-known", "openid-configuration"]:
                return answer(call, tokens.discovery(f"https://{call.host}"))
            case ["openid", "v1", "jwks"]:
                return answer(call, self._key.jwks(), media_type="application/jwk-set+json")
        raise _not_found()

    def _discover(self, call: Call, root: str, rest: list[str]) -> Response:
        core = root == "api"
        if not rest:
            accepted = media.negotiate(call.accept, discovery.AGGREGATED)
            if accepted.transform:
                made_type = f"{media.JSON};g=apidiscovery.k8s.io;v={accepted.version};as={accepted.transform}"
                document = self._discovery.aggregated(accepted.version, core=core)
                return answer(call, document, media_type=made_type)
            return answer(call, self._discovery.core(call.host) if core else self._discovery.groups())
        found: Object | None = None
        if core and len(rest) == 1:
            found = self._discovery.resources("", rest[0])
        elif not core and len(rest) == 1:
            found = self._discovery.group(rest[0])
        elif not core and len(rest) == 2:
            found = self._discovery.resources(rest[0], rest[1])
        if found is None:
            raise _not_found()
        return answer(call, found)

    def _open(self, call: Call, rest: list[str]) -> Response:
        if rest[:1] == ["v2"]:
            return Response(openapi.V2, media_type=openapi.V2_MEDIA_TYPE)
        if rest == ["v3"]:
            return answer(call, self._openapi.index())
        found = self._openapi.document("/".join(rest[1:])) if rest[:1] == ["v3"] else None
        if found is None:
            raise _not_found()
        return Response(found, media_type=media.JSON)

    def _version_document(self) -> Object:
        major, minor = EMULATED
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return {
            "major": major,
            "minor": minor,
            "gitVersion": f"v{major}.{minor}.0+funcs-{self._version}",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "cpython",
            "platform": f"{platform.system().lower()}/{machine}",
        }


def _not_found() -> NotFound:
    return NotFound("the server could not find the requested resource")
