"""Route: resolves its traffic to revisions and says under which names it is served.

Law: gateways program themselves from status.traffic alone; while the spec cannot be met, the last traffic that could
be stays. Which routes a revision concerns is remembered from their own reconciling, never searched for.
"""

from __future__ import annotations

from collections.abc import Iterable

from funcs.api import meta
from funcs.api.conditions import Condition, ConditionSet
from funcs.api.meta import Key, Object
from funcs.api.serving import CONFIGURATION, REVISION, ROUTE
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, LookAgain, Watch

from .. import names
from ..settings import ServingSettings
from ..traffic import ASSIGNED, assign, is_local
from .writing import say

CONDITIONS = ConditionSet((ASSIGNED, "IngressReady", "CertificateProvisioned"))
_NO_TLS = Condition("CertificateProvisioned", "True", "TLSNotEnabled", "autoTLS is not enabled")


class RouteReconciler:
    """Keys are Routes."""

    def __init__(self, client: Client, cache: Cache, clock: Clock, settings: ServingSettings) -> None:
        self._client, self._cache, self._clock, self._settings = client, cache, clock, settings
        self._references = References()

    def controller(self) -> Controller:
        watches = (Watch(ROUTE), Watch(CONFIGURATION, self._references.keys), Watch(REVISION, self._references.keys))
        return Controller("route", self.reconcile, watches)

    async def reconcile(self, key: Key) -> LookAgain | None:
        route = self._cache.get(ROUTE, key.name, key.namespace)
        self._references.set(key, _referenced(route) if route else ())
        if route is None or meta.is_deleting(route):
            return None
        assignment = assign(
            route,
            lambda name: self._cache.get(CONFIGURATION, name, key.namespace),
            lambda name: self._cache.get(REVISION, name, key.namespace),
            self._settings,
        )
        traffic = assignment.targets if assignment.targets is not None else meta.status(route).get("traffic")
        served = assignment.condition.status == "True"
        marks = [assignment.condition, _NO_TLS, _ingress(served=served)]
        status = _addresses(route, self._settings)
        status["observedGeneration"] = meta.generation(route)
        status["conditions"] = CONDITIONS.compute(marks, route, self._clock.now())
        if traffic:
            status["traffic"] = traffic
        await say(self._client, ROUTE, route, status)
        return None


class References:
    """Who refers to whom: from a configuration's or revision's name to the routes that name it."""

    def __init__(self) -> None:
        self._routes: dict[Key, set[Key]] = {}
        self._named: dict[Key, frozenset[Key]] = {}

    def set(self, route: Key, names: Iterable[str]) -> None:
        named = frozenset(Key(route.namespace, name) for name in names)
        for gone in self._named.pop(route, frozenset()) - named:
            self._routes[gone].discard(route)
            if not self._routes[gone]:
                del self._routes[gone]
        for one in named:
            self._routes.setdefault(one, set()).add(route)
        if named:
            self._named[route] = named

    def keys(self, obj: Object) -> Iterable[Key]:
        return tuple(self._routes.get(meta.key(obj), ()))


def _referenced(route: Object) -> Iterable[str]:
    for target in meta.spec(route).get("traffic") or []:
        yield target.get("revisionName") or target.get("configurationName") or ""


def _addresses(route: Object, settings: ServingSettings) -> Object:
    name, namespace = meta.name(route), meta.namespace(route)
    return {
        "url": names.url(name, namespace, settings, local=is_local(route)),
        "address": {"url": names.url(name, namespace, settings, local=True)},
    }


def _ingress(*, served: bool) -> Condition:
    """The gateway serves status.traffic as soon as it is written, and holds requests until pods are ready."""
    if served:
        return Condition("IngressReady", "True")
    return Condition("IngressReady", "Unknown", "IngressNotConfigured", "Ingress has not yet been reconciled.")
