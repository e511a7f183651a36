"""Media types: what a client accepts, what it sent, and the bytes of both.

Law: pure; bodies are hostile: they are bounded before they are parsed, YAML is read by the safe loader and has no
aliases, and the result is always a JSON mapping (or, for a JSON patch, a list). No IO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from funcs.api.meta import Object
from funcs.errors import BadRequest, UnsupportedMediaType

from . import protobuf
from .status import NotAcceptable

BODY_LIMIT = 3 * 1024 * 1024
_DEEPEST = 200
JSON = "application/json"
YAML = "application/yaml"
_JSON_TYPES = ("", JSON, "application/json-patch+json", "application/merge-patch+json",
               "application/strategic-merge-patch+json")  # fmt: skip
_YAML_TYPES = (YAML, "application/apply-patch+yaml", "application/x-yaml", "text/yaml")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The best of the Accept header: `transform` is "" or a kind to be made of it, such as "Table"."""

    type: str = JSON
    transform: str = ""
    version: str = ""


def negotiate(accept: str, transforms: tuple[str, ...] = ()) -> Accepted:
    """The first acceptable of the header's alternatives, by quality. Raises NotAcceptable when there is none.

    `transforms` are what this endpoint can make ("Table;v1"). Protobuf is read but not written.
    """
    for media, parameters in _alternatives(accept):
        transform = parameters.get("as", "")
        if transform and f"{transform};{parameters.get('v', '')}" not in transforms:
            continue
        if media in ("*/*", "application/*", JSON):
            return Accepted(JSON, transform, parameters.get("v", ""))
        if media in (YAML, "text/yaml", "application/x-yaml") and not transform:
            return Accepted(YAML)
    raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")


def _alternatives(accept: str) -> list[tuple[str, dict[str, str]]]:
    if not accept.strip():
        return [(JSON, {})]
    found: list[tuple[float, str, dict[str, str]]] = []
    for part in accept.split(",")[:32]:
        media, *pairs = (piece.strip() for piece in part.split(";"))
        parameters = {name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)}
        found.append((_quality(parameters.pop("q", "1")), media.lower(), parameters))
    found.sort(key=lambda alternative: -alternative[0])
    return [(media, parameters) for quality, media, parameters in found if quality > 0]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def encode(value: object, type: str = JSON, *, pretty: bool = False) -> bytes:
    if type == YAML:
        return yaml.dump(value, Dumper=_DUMPER, sort_keys=True, default_flow_style=False).encode()
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2) + b"\n" if pretty else encoded + b"\n"


def decode(body: bytes, content_type: str) -> Any:
    """Raises BadRequest, UnsupportedMediaType."""
    media = content_type.partition(";")[0].strip().lower()
    if media in _JSON_TYPES:
        return _decode_json(body)
    if media == protobuf.MEDIA_TYPE:
        return protobuf.decode(body)
    if media in _YAML_TYPES:
        return _decode_yaml(body)
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}"
    )


def decode_object(body: bytes, content_type: str) -> Object:
    """A mapping, always. Raises BadRequest, UnsupportedMediaType."""
    found = decode(body, content_type)
    if not isinstance(found, dict):
        raise BadRequest("the body of the request is not a JSON object")
    return found


def _decode_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body of the request is not JSON: {error}") from error


def _decode_yaml(body: bytes) -> Any:
    try:
        _refuse_bombs(body)
        return msgspec.to_builtins(yaml.load(body, Loader=_Loader), str_keys=True)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
        raise BadRequest(f"the body of the request is not YAML: {error}") from error


def _refuse_bombs(body: bytes) -> None:
    """Aliases and depth are refused on the flat stream of events: the composer recurses in C, without a limit."""
    depth = 0
    for event in yaml.parse(body, Loader=_SAFE):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read here")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise yaml.YAMLError("nested too deeply")


_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SAFE):  # type: ignore[misc]
    """The safe loader; what looks like a date stays text, as in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _SAFE.yaml_implicit_resolvers.items()
}
