"""Images as the OCI image specification has them: descriptors, manifests, indexes, configurations.

Law: what is read may come from anybody and is bounded and checked; what is written is canonical (fields in the
specification's order, map keys sorted), so equal images have equal digests. Raw bytes of foreign manifests are kept
as they are; these types only read them. No IO.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, TypeVar

import msgspec

from funcs.errors import Invalid

from .reference import is_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
LARGEST_MANIFEST = 4 * 1024 * 1024  # bytes; the distribution specification's floor for servers is this too
EPOCH = "1980-01-01T00:00:01Z"  # the first second that a zip file can hold, as buildpacks use

Size = Annotated[int, msgspec.Meta(ge=0)]
T = TypeVar("T", bound=msgspec.Struct)


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    architecture: str
    os: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def suits(self, wanted: Platform) -> bool:
        """Whether an image of this platform runs where `wanted` is asked for."""
        same = (self.os, self.architecture) == (wanted.os, wanted.architecture)
        return same and (not wanted.variant or not self.variant or self.variant == wanted.variant)


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What a blob is, how long it is (bytes), and its name."""

    media_type: str
    digest: str
    size: Size
    annotations: dict[str, str] = {}
    platform: Platform | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        if not is_digest(self.digest):
            raise ValueError(f"not a sha256 digest: {self.digest[:120]!r}")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One image (or artifact): its configuration and its layers, lowest first."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Several manifests: one per platform, or whatever a layout holds."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    manifests: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Execution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """How a container of the image is started (`config` of an image's configuration). `env` is `NAME=value` lines."""

    user: str = ""
    exposed_ports: dict[str, dict[str, str]] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""


class Rootfs(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "layers"
    diff_ids: list[str]


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an image's making; `empty_layer` steps have no layer."""

    created: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


class Configuration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image's configuration blob."""

    created: str | None = None
    architecture: str
    os: str
    variant: str = ""
    config: Execution | None = None
    rootfs: Rootfs
    history: list[History] | None = None

    @property
    def platform(self) -> Platform:
        return Platform(architecture=self.architecture, os=self.os, variant=self.variant)


def encode(value: msgspec.Struct) -> bytes:
    """Canonical JSON."""
    return msgspec.json.encode(value, order="deterministic")


def decode(data: bytes, type: type[T], what: str) -> T:
    """`what` names the bytes in the message. Raises Invalid."""
    if len(data) > LARGEST_MANIFEST:
        raise Invalid(f"{what} is {len(data)} bytes long; the most is {LARGEST_MANIFEST}", reason="ManifestInvalid")
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Invalid(f"{what} is not what it should be: {error}", reason="ManifestInvalid") from error


def media_type_of(data: bytes, what: str) -> str:
    """The media type of a manifest or index by its own content. Raises Invalid."""
    probe = decode(data, _Probe, what)
    if probe.media_type:
        return probe.media_type
    if probe.manifests is not None:
        return OCI_INDEX
    if probe.config is not None:
        return OCI_MANIFEST
    raise Invalid(f"{what} is neither a manifest nor an index", reason="ManifestInvalid")


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def described(data: bytes, media_type: str) -> Descriptor:
    """The descriptor of these bytes."""
    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))


def children(data: bytes, media_type: str, what: str) -> list[Descriptor]:
    """Every blob and manifest that a manifest or index names, its subject excepted. Raises Invalid."""
    if media_type in INDEXES:
        return decode(data, Index, what).manifests
    if media_type in MANIFESTS:
        manifest = decode(data, Manifest, what)
        return [manifest.config, *manifest.layers]
    raise Invalid(f"{what} has the unknown media type {media_type[:120]!r}", reason="ManifestInvalid")


class _Probe(msgspec.Struct, rename="camel"):
    media_type: str = ""
    manifests: Any = None
    config: Any = None
