"""Service: makes its Configuration and its Route, and reports what they say.

Law: writes only its two children and its own status; it is Ready when the Configuration is, and the Route has moved
traffic to the latest ready revision.
"""

from __future__ import annotations

from funcs.api import meta
from funcs.api.conditions import Condition, ConditionSet, find
from funcs.api.meta import Key, Object
from funcs.api.serving import CONFIGURATION, REVISION, ROUTE, SERVICE
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, LookAgain, Watch, owner_key

from ..children import claims, configuration_for, route_for
from .writing import NotOwned, ensure, say

CONFIGURATIONS_READY = "ConfigurationsReady"
ROUTES_READY = "RoutesReady"
CONDITIONS = ConditionSet((CONFIGURATIONS_READY, ROUTES_READY))
_NOT_MIGRATED = "Traffic is not yet migrated to the latest revision."


class ServiceReconciler:
    """Keys are Services."""

    def __init__(self, client: Client, cache: Cache, clock: Clock) -> None:
        self._client, self._cache, self._clock = client, cache, clock

    def controller(self) -> Controller:
        watches = (Watch(SERVICE), Watch(CONFIGURATION, owner_key(SERVICE)), Watch(ROUTE, owner_key(SERVICE)))
        return Controller("service", self.reconcile, watches)

    async def reconcile(self, key: Key) -> LookAgain | None:
        service = self._cache.get(SERVICE, key.name, key.namespace)
        if service is None or meta.is_deleting(service):
            return None
        configuration, problem = await self._configuration(service)
        marks = [problem or _of_configuration(configuration)]
        taken = self._taken_name(configuration)
        if taken:
            await self._say(service, [*marks, _name_taken(taken)], configuration, None)
            return None
        route, problem = await self._route(service)
        marks.append(problem or _of_route(route, configuration))
        await self._say(service, marks, configuration, route)
        return None

    async def _configuration(self, service: Object) -> tuple[Object | None, Condition | None]:
        found = self._cache.get(CONFIGURATION, meta.name(service), meta.namespace(service))
        try:
            return await ensure(self._client, CONFIGURATION, configuration_for(service), found, exact=True), None
        except NotOwned:
            return None, _not_owned(CONFIGURATIONS_READY, "Configuration", meta.name(service))

    async def _route(self, service: Object) -> tuple[Object | None, Condition | None]:
        found = self._cache.get(ROUTE, meta.name(service), meta.namespace(service))
        try:
            return await ensure(self._client, ROUTE, route_for(service), found, exact=True), None
        except NotOwned:
            return None, _not_owned(ROUTES_READY, "Route", meta.name(service))

    def _taken_name(self, configuration: Object | None) -> str:
        """The name the author gave the revision, if another revision has it."""
        if configuration is None:
            return ""
        name = meta.name(meta.spec(configuration).get("template") or {})
        found = self._cache.get(REVISION, name, meta.namespace(configuration)) if name else None
        return name if found is not None and not claims(configuration, found) else ""

    async def _say(
        self, service: Object, marks: list[Condition], configuration: Object | None, route: Object | None
    ) -> None:
        status: Object = {"observedGeneration": meta.generation(service)}
        status["conditions"] = CONDITIONS.compute(marks, service, self._clock.now())
        for source, fields in (
            (configuration, ("latestCreatedRevisionName", "latestReadyRevisionName")),
            (route, ("url", "address", "traffic")),
        ):
            present = meta.status(source or {})
            status.update({field: present[field] for field in fields if present.get(field)})
        await say(self._client, SERVICE, service, status)


def _of_configuration(configuration: Object | None) -> Condition:
    return _copied(CONFIGURATIONS_READY, "Configuration", configuration)


def _of_route(route: Object | None, configuration: Object | None) -> Condition:
    copied = _copied(ROUTES_READY, "Route", route)
    if copied.status == "True" and route is not None and not _migrated(route, configuration or {}):
        return Condition(ROUTES_READY, "Unknown", "TrafficNotMigrated", _NOT_MIGRATED)
    return copied


def _copied(type: str, kind: str, child: Object | None) -> Condition:
    if child is None or meta.status(child).get("observedGeneration") != meta.generation(child):
        text = f"The {kind} is still working to reflect the latest desired specification."
        return Condition(type, "Unknown", "OutOfDate", text)
    ready = find(child, "Ready")
    return Condition(type, ready.status, ready.reason, ready.message) if ready else Condition(type)


def _migrated(route: Object, configuration: Object) -> bool:
    """Whether the route's status shows what its spec asks, configurations at their latest ready revision."""
    latest = meta.status(configuration).get("latestReadyRevisionName") or ""
    wanted = [
        (target.get("tag"), target.get("revisionName") or latest, target.get("percent"))
        for target in meta.spec(route).get("traffic") or []
    ]
    shown = [
        (target.get("tag"), target.get("revisionName"), target.get("percent"))
        for target in meta.status(route).get("traffic") or []
    ]
    return wanted == shown


def _not_owned(type: str, kind: str, name: str) -> Condition:
    return Condition(type, "False", "NotOwned", f'There is an existing {kind} "{name}" that we do not own.')


def _name_taken(name: str) -> Condition:
    text = f'The revision name "{name}" is taken by a conflicting Revision, so traffic will not be migrated'
    return Condition(ROUTES_READY, "False", "RevisionNameTaken", text)
