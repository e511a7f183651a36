"""An image's configuration and manifest, from its layers.

Law: nothing in them depends on when or where they were made; each layer has its line of history and carries its key,
by which a later build finds it again wherever the image went. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from funcs.oci import model
from funcs.oci.layer import Layer
from funcs.oci.model import Configuration, Descriptor, Execution, History, Manifest, Platform, Rootfs

from ..port import BuiltLayer

LAYER = "dev.funcs.layer"
KEY = "dev.funcs.layer.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything an image is made of. `keys` are by name of layer."""

    platform: Platform
    layers: tuple[BuiltLayer, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    execution: Execution
    annotations: Mapping[str, str] = field(default_factory=dict)


def compose(parts: Parts) -> tuple[bytes, bytes]:
    """(configuration, manifest), canonical."""
    configuration = Configuration(
        created=model.EPOCH,
        architecture=parts.platform.architecture,
        os=parts.platform.os,
        variant=parts.platform.variant,
        config=parts.execution,
        rootfs=Rootfs(diff_ids=[built.layer.diff_id for built in parts.layers]),
        history=[History(created=model.EPOCH, created_by=f"funcs: {built.name}") for built in parts.layers],
    )
    config = model.encode(configuration)
    manifest = Manifest(
        schema_version=2,
        media_type=model.OCI_MANIFEST,
        config=model.described(config, model.OCI_CONFIG),
        layers=[_labelled(built, parts.keys.get(built.name, "")) for built in parts.layers],
        annotations=dict(parts.annotations),
    )
    return config, model.encode(manifest)


def known_layers(manifest: Manifest, configuration: Configuration) -> dict[str, Layer]:
    """The layers of an image that this builder made, by key."""
    pairs: Iterable[tuple[Descriptor, str]] = zip(manifest.layers, configuration.rootfs.diff_ids, strict=False)
    return {
        descriptor.annotations[KEY]: Layer(msgspec.structs.replace(descriptor, annotations={}), diff_id)
        for descriptor, diff_id in pairs
        if KEY in descriptor.annotations
    }


def _labelled(built: BuiltLayer, key: str) -> Descriptor:
    annotations = {LAYER: built.name} | ({KEY: key} if key else {})
    return msgspec.structs.replace(built.layer.descriptor, annotations=annotations)
