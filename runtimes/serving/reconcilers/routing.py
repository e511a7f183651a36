"""Which revisions are in use: the routing state written on revisions and configurations, seen from each Route.

Law: keys are Routes. A revision that some route uses is active and names its routes; one that none uses any more is in
reserve. A route that is gone is noticed by what still names it, so no finalizer is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from funcs.api import meta
from funcs.api import serving_keys as keys
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.api.serving import CONFIGURATION, REVISION, ROUTE
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, LookAgain, Watch


class RoutingReconciler:
    """Keys are Routes, present or gone."""

    def __init__(self, client: Client, cache: Cache, clock: Clock) -> None:
        self._client, self._cache, self._clock = client, cache, clock

    def controller(self) -> Controller:
        watches = (Watch(ROUTE), Watch(REVISION, _named_routes), Watch(CONFIGURATION, _named_routes))
        return Controller("routing", self.reconcile, watches)

    async def reconcile(self, key: Key) -> LookAgain | None:
        route = self._cache.get(ROUTE, key.name, key.namespace)
        if route is not None and meta.is_deleting(route):
            route = None
        used_configurations = set(_configurations(route)) if route else set()
        used_revisions = self._revisions(key, route, used_configurations)
        for configuration in self._candidates(CONFIGURATION, key, used_configurations):
            await self._write(CONFIGURATION, configuration, key, used=meta.name(configuration) in used_configurations)
        for revision in self._candidates(REVISION, key, used_revisions):
            await self._write(REVISION, revision, key, used=meta.name(revision) in used_revisions)
        return None

    def _revisions(self, key: Key, route: Object | None, configurations: set[str]) -> set[str]:
        """Those with traffic, those asked for, and the newest of each configuration, ready or on its way."""
        if route is None:
            return set()
        targets = [*(meta.spec(route).get("traffic") or []), *(meta.status(route).get("traffic") or [])]
        used = {target["revisionName"] for target in targets if target.get("revisionName")}
        for name in configurations:
            status = meta.status(self._cache.get(CONFIGURATION, name, key.namespace) or {})
            used |= {status.get("latestCreatedRevisionName") or "", status.get("latestReadyRevisionName") or ""}
        return used

    def _candidates(self, kind: Kind, key: Key, used: set[str]) -> list[Object]:
        """What is used, and whatever else says that this route uses it. A Service writes its Configuration itself."""
        found = {name: self._cache.get(kind, name, key.namespace) for name in used}
        for other in self._cache.list(kind, key.namespace, self._sharing(kind, key)):
            if key.name in _listed(other):
                found[meta.name(other)] = other
        present = [one for _, one in sorted(found.items()) if one is not None and not meta.is_deleting(one)]
        return present if kind is REVISION else [one for one in present if meta.controller(one) is None]

    def _sharing(self, kind: Kind, key: Key) -> dict[str, str] | None:
        """A Service's route is named only by what carries the Service's label: no need to look further."""
        route = self._cache.get(ROUTE, key.name, key.namespace)
        service = meta.labels(route).get(keys.SERVICE) if route else None
        return {keys.SERVICE: service} if service else None

    async def _write(self, kind: Kind, obj: Object, route: Key, *, used: bool) -> None:
        listed = _listed(obj)
        routes = sorted(listed | {route.name} if used else listed - {route.name})
        annotations: dict[str, str | None] = {}
        metadata: Object = {"annotations": annotations}
        if routes != sorted(listed):
            annotations[keys.ROUTES] = ",".join(routes) or None
        state = "active" if routes else "reserve"
        if kind is REVISION and meta.labels(obj).get(keys.ROUTING_STATE) != state:
            metadata["labels"] = {keys.ROUTING_STATE: state}
            annotations[keys.ROUTING_STATE_MODIFIED] = meta.timestamp(self._clock.now())
        if annotations:
            await self._client.patch(kind, meta.name(obj), {"metadata": metadata}, meta.namespace(obj))


def _listed(obj: Object) -> set[str]:
    return {name for name in meta.annotations(obj).get(keys.ROUTES, "").split(",") if name}


def _named_routes(obj: Object) -> Iterable[Key]:
    return [Key(meta.namespace(obj), name) for name in _listed(obj)]


def _configurations(route: Object) -> Iterable[str]:
    for target in meta.spec(route).get("traffic") or []:
        if target.get("configurationName"):
            yield target["configurationName"]
