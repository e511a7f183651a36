"""What an image stands on: layers that are there already, and the Python in them.

Law: a base from a registry is pinned by the digest it has now, and none of its layers is fetched. IO: the host base's
layer is made here when it must be; a registry is asked for manifests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from funcs.errors import Invalid
from funcs.oci import model
from funcs.oci.layer import Layer
from funcs.oci.model import Configuration, Execution, Index, Manifest, Platform
from funcs.oci.reference import Reference
from funcs.oci.registry import Registry
from funcs.oci.transfer import choose

from ..port import BuiltLayer
from . import rootfs
from .interpreter import Target, this_target
from .keyed import KeyedLayers

BASE_LABEL = "dev.funcs.base"
PYTHON_LABEL = "dev.funcs.python"
LIBC_LABEL = "dev.funcs.libc"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Foundation:
    """`reference` is pinned, "" for the host base; `repository` is where its blobs may be mounted from."""

    layers: tuple[BuiltLayer, ...]
    target: Target
    env: Mapping[str, str]
    labels: Mapping[str, str]
    reference: str = ""
    repository: str = ""


def host_foundation(layers: KeyedLayers) -> Foundation:
    """The machine's own Python."""
    built = layers.get("base", rootfs.fingerprint(), rootfs.entries)
    target = this_target()
    env = {"PATH": _PATH, "LANG": "C.UTF-8", "SSL_CERT_FILE": f"/{rootfs.CERTIFICATES}"}
    labels = {BASE_LABEL: "host", PYTHON_LABEL: target.python, LIBC_LABEL: target.libc}
    return Foundation((built,), target, env, labels)


async def registry_foundation(registry: Registry, base: Reference, platform: Platform) -> Foundation:
    """An image with Python in it. Raises Invalid if it does not say which Python it has."""
    descriptor, data = await registry.manifest(base)
    if descriptor.media_type in model.INDEXES:
        chosen = choose(model.decode(data, Index, str(base)), platform, base)
        descriptor, data = await registry.manifest(base.at(chosen.digest))
    manifest = model.decode(data, Manifest, str(base))
    configuration = await _configuration(registry, base, manifest)
    layers = tuple(
        BuiltLayer("base", Layer(layer, diff_id), cached=True)
        for layer, diff_id in zip(manifest.layers, configuration.rootfs.diff_ids, strict=True)
    )
    execution = configuration.config or Execution()
    env = dict(line.split("=", 1) for line in execution.env or () if "=" in line)
    labels = execution.labels or {}
    target = Target(
        _python(base, env, labels), configuration.platform, labels.get(LIBC_LABEL, "glibc-2.28"), _place(labels)
    )
    pinned = base.at(descriptor.digest)
    kept = {name: value for name, value in labels.items() if name in (BASE_LABEL, PYTHON_LABEL, LIBC_LABEL)}
    return Foundation(layers, target, env, kept or {BASE_LABEL: pinned.name}, str(pinned), base.repository)


async def _configuration(registry: Registry, base: Reference, manifest: Manifest) -> Configuration:
    if manifest.config.size > model.LARGEST_MANIFEST:
        raise Invalid(f"{base} has a configuration of {manifest.config.size} bytes")
    async with registry.blob(base, manifest.config) as chunks:
        data = b"".join([chunk async for chunk in chunks])
    configuration = model.decode(data, Configuration, f"the configuration of {base}")
    if len(configuration.rootfs.diff_ids) != len(manifest.layers):
        raise Invalid(f"{base} has {len(manifest.layers)} layers and {len(configuration.rootfs.diff_ids)} diff ids")
    return configuration


def _python(base: Reference, env: Mapping[str, str], labels: Mapping[str, str]) -> str:
    version = labels.get(PYTHON_LABEL) or env.get("PYTHON_VERSION", "")
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]) or (int(parts[0]), int(parts[1])) < (3, 11):
        raise Invalid(
            f"the base image {base} does not say that it has Python 3.11 or later",
            hint=f"Use an official python image, or one with the label {PYTHON_LABEL}.",
        )
    return f"{parts[0]}.{parts[1]}"


def _place(labels: Mapping[str, str]) -> str:
    return labels.get("dev.funcs.python.path", "/usr/local/bin/python3")


async def in_thread(layers: KeyedLayers) -> Foundation:
    """`host_foundation`, off the event loop: the first time it reads some 70 MB."""
    return await asyncio.to_thread(host_foundation, layers)
