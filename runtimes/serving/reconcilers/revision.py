"""Revision: an image by digest becomes a Deployment, an autoscaler and a Service; what they say becomes its status.

Law: phases in order (digests, children, status); the Deployment's replicas are written once, at its birth. IO: the
Client and the injected `resolve_digest`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from funcs.api import core, meta
from funcs.api import serving_keys as keys
from funcs.api.conditions import Condition
from funcs.api.meta import Key, Object
from funcs.api.serving import POD_AUTOSCALER, REVISION
from funcs.api.serving_defaults import serving_container
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, LookAgain, Watch, owner_key
from funcs.errors import FuncsError

from .. import names
from ..configmaps import autoscaler_config
from ..health import CONDITIONS, Seen, decide, missing_image, not_owned
from ..settings import ServingSettings, scaling_of
from ..workload import autoscaler_for, deployment_for, service_for
from .writing import NotOwned, ensure, say

ResolveDigest = Callable[[str], Awaitable[str]]


class RevisionReconciler:
    """Keys are Revisions. `resolve_digest` gives an image's name by digest, or raises FuncsError."""

    def __init__(
        self, client: Client, cache: Cache, clock: Clock, settings: ServingSettings, resolve_digest: ResolveDigest
    ) -> None:
        self._client, self._cache, self._clock, self._settings = client, cache, clock, settings
        self._resolve_digest = resolve_digest

    def controller(self) -> Controller:
        watches = (
            Watch(REVISION),
            Watch(core.DEPLOYMENT, owner_key(REVISION)),
            Watch(POD_AUTOSCALER, owner_key(REVISION)),
            Watch(core.SERVICE, owner_key(REVISION)),
            Watch(core.POD, _revision_of_pod),
        )
        return Controller("revision", self.reconcile, watches)

    async def reconcile(self, key: Key) -> LookAgain | None:
        revision = self._cache.get(REVISION, key.name, key.namespace)
        if revision is None or meta.is_deleting(revision):
            return None
        digests = _known_digests(revision)
        if not digests:
            try:
                digests = await self._resolve(revision)
            except _Unresolved as problem:
                await self._say(revision, missing_image(problem.image, problem.why), {}, None)
                return LookAgain(self._settings.digest_retry)
        try:
            await self._children(revision, digests)
        except NotOwned as problem:
            await self._say(revision, not_owned("Deployment", str(problem)), digests, None)
            return None
        seen = self._look(revision)
        await self._say(revision, decide(revision, seen), digests, seen.autoscaler)
        return None

    async def _resolve(self, revision: Object) -> dict[str, str]:
        """Images by digest, by container name. Raises _Unresolved."""
        spec = meta.spec(revision)
        found: dict[str, str] = {}
        for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
            image = str(container.get("image") or "")
            found[str(container.get("name") or "")] = await self._pinned(image)
        return found

    async def _pinned(self, image: str) -> str:
        registry = image.partition("/")[0]
        if "@sha256:" in image or registry in self._settings.skip_digest_registries:
            return image
        try:
            async with asyncio.timeout(self._settings.digest_timeout):
                return await self._resolve_digest(image)
        except TimeoutError as late:
            raise _Unresolved(image, f"no answer within {self._settings.digest_timeout:g} s") from late
        except FuncsError as problem:
            raise _Unresolved(image, str(problem)) from problem

    async def _children(self, revision: Object, digests: dict[str, str]) -> None:
        namespace = meta.namespace(revision)
        autoscaler = autoscaler_for(revision)
        settings = autoscaler_config(self._cache, self._settings.autoscaler)
        replicas = scaling_of(autoscaler, settings, self._settings.progress_deadline).initial_scale
        wanted = deployment_for(revision, digests, replicas, self._settings)
        found = self._cache.get(core.DEPLOYMENT, meta.name(wanted), namespace)
        if found is not None:
            del wanted["spec"]["replicas"]
        await ensure(self._client, core.DEPLOYMENT, wanted, found, exact=False)
        found = self._cache.get(POD_AUTOSCALER, meta.name(autoscaler), namespace)
        await ensure(self._client, POD_AUTOSCALER, autoscaler, found, exact=True)
        service = service_for(revision)
        found = self._cache.get(core.SERVICE, meta.name(service), namespace)
        await ensure(self._client, core.SERVICE, service, found, exact=False)

    def _look(self, revision: Object) -> Seen:
        name, namespace = meta.name(revision), meta.namespace(revision)
        deployment = self._cache.get(core.DEPLOYMENT, names.deployment(name), namespace)
        serving = serving_container(meta.spec(revision)) or {}
        return Seen(
            deployment,
            self._cache.get(POD_AUTOSCALER, name, namespace),
            self._first_pod(revision, deployment),
            str(serving.get("name") or ""),
        )

    def _first_pod(self, revision: Object, deployment: Object | None) -> Object | None:
        """Asked only while no pod is available."""
        if deployment is None or meta.status(deployment).get("availableReplicas"):
            return None
        pods = self._cache.list(core.POD, meta.namespace(revision), {keys.REVISION_UID: meta.uid(revision)})
        return min(
            pods, key=lambda pod: (meta.metadata(pod).get("creationTimestamp") or "", meta.name(pod)), default=None
        )

    async def _say(
        self, revision: Object, marks: list[Condition], digests: dict[str, str], autoscaler: Object | None
    ) -> None:
        status: Object = {"observedGeneration": meta.generation(revision)}
        status["conditions"] = CONDITIONS.compute(marks, revision, self._clock.now())
        spec = meta.spec(revision)
        for field, containers in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
            shown = [
                {"name": one["name"], "imageDigest": digests[one["name"]]}
                for one in spec.get(containers) or []
                if one.get("name") in digests
            ]
            if shown:
                status[field] = shown
        scale = meta.status(autoscaler or {})
        for field, source in (("actualReplicas", "actualScale"), ("desiredReplicas", "desiredScale")):
            if scale.get(source) is not None and scale[source] >= 0:
                status[field] = scale[source]
        await say(self._client, REVISION, revision, status)


class _Unresolved(Exception):
    def __init__(self, image: str, why: str) -> None:
        super().__init__(image, why)
        self.image, self.why = image, why


def _known_digests(revision: Object) -> dict[str, str]:
    status = meta.status(revision)
    shown = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    return {one["name"]: one["imageDigest"] for one in shown}


def _revision_of_pod(pod: Object) -> Iterable[Key]:
    name = meta.labels(pod).get(keys.REVISION)
    return (Key(meta.namespace(pod), name),) if name else ()
