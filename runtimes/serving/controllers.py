"""All of Serving's controllers, ready for the loop.

Law: they meet only in resources; this is the one place that names them together.
"""

from __future__ import annotations

from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller

from .autoscaler import Autoscaler
from .reconcilers.configuration import ConfigurationReconciler
from .reconcilers.revision import ResolveDigest, RevisionReconciler
from .reconcilers.route import RouteReconciler
from .reconcilers.routing import RoutingReconciler
from .reconcilers.service import ServiceReconciler
from .settings import ServingSettings


def controllers(
    client: Client,
    cache: Cache,
    clock: Clock,
    settings: ServingSettings,
    resolve_digest: ResolveDigest,
    autoscaler: Autoscaler | None = None,
) -> list[Controller]:
    """`autoscaler` is the one that a `listener.StatsListener` feeds; without one, nobody reports any load."""
    return [
        ServiceReconciler(client, cache, clock).controller(),
        ConfigurationReconciler(client, cache, clock).controller(),
        RevisionReconciler(client, cache, clock, settings, resolve_digest).controller(),
        RouteReconciler(client, cache, clock, settings).controller(),
        RoutingReconciler(client, cache, clock).controller(),
        (autoscaler or Autoscaler(client, cache, clock, settings)).controller(),
    ]
