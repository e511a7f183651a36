"""Images of other registries, brought into the layout as docker would bring them.

Law: an image has its name in the layout only when all of it is there; a name by digest stays exactly that, an index
included, so that a pinned image is found again without the network. Secrets of pods are read, never run: credential
helpers that they name are not. IO: the registries, the layout, the Client.
"""

from __future__ import annotations

import base64
import binascii

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import Client
from funcs.errors import Invalid, NotFound
from funcs.oci import transfer
from funcs.oci.credentials import Credential, Credentials, from_document
from funcs.oci.layout import Layout
from funcs.oci.model import Platform
from funcs.oci.reference import Reference
from funcs.oci.registry import Delays, RegistrySettings, connect

_CONFIG_KEY = ".dockerconfigjson"
_SETTINGS = RegistrySettings(attempts=2)  # the pod backs off by itself, and says so where people look


class RegistryPuller:
    """A `Puller` over the network."""

    def __init__(self, platform: Platform, delays: Delays) -> None:
        self._platform = platform
        self._delays = delays

    async def pull(self, name: Reference, layout: Layout, repository: str, credentials: Credentials) -> None:
        async with connect(credentials, self._delays, _SETTINGS) as registry:
            descriptor, data = await registry.manifest(name)
            await transfer.pull(registry, layout, name.at(descriptor.digest), self._platform)
        layout.put(data)
        layout.tag(repository, descriptor, "" if name.digest else name.locator)


async def credentials_of(client: Client, pod: Object) -> Credentials:
    """Those of the pod's `imagePullSecrets`, else of its service account's; of two for a place the first counts.

    A secret that is not there is passed over, as the kubelet does. Raises Invalid for one that cannot be read.
    """
    namespace = meta.namespace(pod)
    given: dict[str, Credential] = {}
    for name in reversed(await _secrets(client, pod)):
        try:
            secret = await client.get(core.SECRET, name, namespace)
        except NotFound:
            continue
        given |= from_document(_document(secret), f"secret {namespace}/{name}")
    return Credentials(given=given)


async def _secrets(client: Client, pod: Object) -> list[str]:
    wanted = meta.spec(pod).get("imagePullSecrets")
    if not wanted:
        account = meta.spec(pod).get("serviceAccountName") or "default"
        try:
            wanted = (await client.get(core.SERVICE_ACCOUNT, account, meta.namespace(pod))).get("imagePullSecrets")
        except NotFound:
            wanted = []
    return [str(each["name"]) for each in wanted or [] if each.get("name")]


def _document(secret: Object) -> bytes:
    """What a secret of type kubernetes.io/dockerconfigjson holds. Raises Invalid."""
    text = (secret.get("data") or {}).get(_CONFIG_KEY)
    if text is None:
        raise Invalid(
            f"secret {meta.name(secret)} is named in imagePullSecrets and has no key {_CONFIG_KEY}",
            hint="Make it with `kubectl create secret docker-registry`.",
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Invalid(f"secret {meta.name(secret)} holds bad base64: {error}") from error
