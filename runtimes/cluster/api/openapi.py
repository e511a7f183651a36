"""OpenAPI v3 documents, one for each group's version, for kubectl's explain, apply and validation.

Law: pure, made once and on demand; paths say that PATCH takes `fieldValidation`, which is how kubectl knows that
fields are checked here. OpenAPI v2 names no kind: kubectl asks for it only when v3 does not have one, to say so. No IO.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from funcs.api.kinds import Kind
from funcs.api.meta import Object

from .schemas import Schemas

# gnostic's openapi.v2.Document: swagger (field 1) "2.0", info (2) with title (1) and version (2)
V2 = b"\x0a\x032.0\x12\x0c\x0a\x05funcs\x12\x031.0"
V2_MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_GVK = "x-kubernetes-group-version-kind"
_PATCHES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")


class OpenApi:
    def __init__(self, kinds: Sequence[Kind], schemas: Schemas, version: str) -> None:
        self._schemas = schemas
        self._version = version
        self._kinds: dict[str, list[Kind]] = {}
        for kind in kinds:
            self._kinds.setdefault(_prefix(kind).removeprefix("/"), []).append(kind)
        self._made: dict[str, bytes] = {}

    def index(self) -> Object:
        return {"paths": {path: {"serverRelativeURL": self._url(path)} for path in self._kinds}}

    def document(self, path: str) -> bytes | None:
        """The document of `api/v1` or `apis/<group>/<version>`, encoded; None if there is none."""
        kinds = self._kinds.get(path)
        if kinds is None:
            return None
        if path not in self._made:
            self._made[path] = msgspec.json.encode(self._document(kinds))
        return self._made[path]

    def _url(self, path: str) -> str:
        """With a hash of what it depends on, so that kubectl's cache knows when to look again."""
        shape = f"{self._version} {path} {[(kind.kind, kind.plural) for kind in self._kinds[path]]}"
        return f"/openapi/v3/{path}?hash={hashlib.sha256(shape.encode()).hexdigest().upper()}"

    def _document(self, kinds: Sequence[Kind]) -> Object:
        paths: Object = {}
        for kind in kinds:
            paths |= _paths(kind)
        return {
            "openapi": "3.0.0",
            "info": {"title": "funcs", "version": self._version},
            "paths": paths,
            "components": {"schemas": {_name(kind): self._schema(kind) for kind in kinds}},
        }

    def _schema(self, kind: Kind) -> Object:
        return {**self._schemas.of(kind), _GVK: [_gvk(kind)]}


def _paths(kind: Kind) -> Object:
    collection = f"{_prefix(kind)}/{kind.plural}"
    paths: Object = {}
    if kind.namespaced:
        paths[collection] = {"get": _operation(kind, "list")}
        collection = f"{_prefix(kind)}/namespaces/{{namespace}}/{kind.plural}"
    paths[collection] = {"get": _operation(kind, "list"), "post": _operation(kind, "post", write=True)}
    paths[f"{collection}/{{name}}"] = {
        "get": _operation(kind, "get"),
        "put": _operation(kind, "put", write=True),
        "patch": _operation(kind, "patch", write=True, media=_PATCHES),
        "delete": _operation(kind, "delete"),
    }
    return paths


def _operation(kind: Kind, action: str, *, write: bool = False, media: Sequence[str] = ("application/json",)) -> Object:
    reference = {"schema": {"$ref": f"#/components/schemas/{_name(kind)}"}}
    operation: Object = {
        "operationId": f"{action}{kind.group_kind}",
        "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
        "x-kubernetes-action": action,
        _GVK: _gvk(kind),
    }
    if write:
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in ("dryRun", "fieldManager", "fieldValidation")
        ]
        open_body = {"schema": {"type": "object"}}
        content = {each: reference if each == "application/json" else open_body for each in media}
        operation["requestBody"] = {"content": content, "required": True}
    return operation


def _gvk(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _prefix(kind: Kind) -> str:
    return f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"


def _name(kind: Kind) -> str:
    """A component's name: the group reversed, as Kubernetes names those of custom resources."""
    group = ".".join(reversed((kind.group or "core").split(".")))
    return f"{group}.{kind.version}.{kind.kind}"
