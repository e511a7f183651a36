"""The autoscaler: decides for each PodAutoscaler how many pods its revision has, from what gateways report.

Law: the decision is `plan.decide`, pure; this reads, decides, scales through the scale subresource, and writes the
PodAutoscaler's status last. One decision for a revision at a time. A revision at rest at zero is not looked at until
something happens to it. IO: the Client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from funcs.api import core, meta
from funcs.api.conditions import Condition, ConditionSet, find
from funcs.api.core import CONFIG_MAP
from funcs.api.meta import Key, Object
from funcs.api.serving import POD_AUTOSCALER, REVISION
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, LookAgain, Watch, owner_key
from funcs.errors import FuncsError

from .activity import Before
from .configmaps import autoscaler_config
from .plan import Memory, Observed, Plan, decide
from .reconcilers.writing import say
from .settings import CONFIG_AUTOSCALER, CONFIG_NAMESPACE, Scaling, ServingSettings, progress_deadline, scaling_of

INITIALIZED = "ScaleTargetInitialized"
CONDITIONS = ConditionSet(("Active", INITIALIZED))


class Autoscaler:
    """Keys are PodAutoscalers, named as their revisions. `gateways` counts those that report now."""

    def __init__(self, client: Client, cache: Cache, clock: Clock, settings: ServingSettings) -> None:
        self._client, self._cache, self._clock, self._settings = client, cache, clock, settings
        self._memories: dict[Key, Memory] = {}
        self._locks: dict[Key, asyncio.Lock] = {}
        self.gateways = 0

    def controller(self) -> Controller:
        watches = (
            Watch(POD_AUTOSCALER),
            Watch(core.DEPLOYMENT, owner_key(REVISION)),
            Watch(CONFIG_MAP, self._all_if_ours),
        )
        return Controller("podautoscaler", self.reconcile, watches)

    def connected(self) -> None:
        """A gateway has begun to report: what it says counts from now."""
        self.gateways += 1

    def disconnected(self) -> None:
        self.gateways -= 1

    def record(self, key: Key, concurrency: float, requests: float) -> bool:
        """Take one report; True if the revision is at zero, so that it must be looked at now."""
        memory = self._memories.get(key)
        if memory is None:
            return self._cache.get(POD_AUTOSCALER, key.name, key.namespace) is not None
        memory.record(self._clock.now(), concurrency, requests)
        return memory.at_zero

    async def poke(self, key: Key) -> None:
        """A request waits for a first pod."""
        memory = self._memories.get(key)
        if memory is not None:
            memory.record(self._clock.now(), 1.0, 1.0)
        try:
            await self.reconcile(key, poked=True)
        except FuncsError:
            # The report of the request that still waits comes within a second, and with it the next attempt.
            return

    async def reconcile(self, key: Key, *, poked: bool = False) -> LookAgain | None:
        async with self._locks.setdefault(key, asyncio.Lock()):
            autoscaler = self._cache.get(POD_AUTOSCALER, key.name, key.namespace)
            if autoscaler is None or meta.is_deleting(autoscaler):
                self._memories.pop(key, None)
                self._locks.pop(key, None)
                return None
            name = (meta.spec(autoscaler).get("scaleTargetRef") or {}).get("name") or ""
            deployment = self._cache.get(core.DEPLOYMENT, name, key.namespace)
            if deployment is None:
                return None
            return await self._decide(key, autoscaler, deployment, poked=poked)

    async def _decide(self, key: Key, autoscaler: Object, deployment: Object, *, poked: bool) -> LookAgain | None:
        now, scaling = self._clock.now(), self._scaling(autoscaler)
        observed = _observe(autoscaler, deployment, now, reporting=self.gateways > 0)
        memory = self._memory(key, scaling, observed.ready, now)
        if poked and memory.is_silent:
            memory.record(now, 1.0, 1.0)
        plan = decide(scaling, observed, memory, now)
        if plan.scale is not None and plan.scale != observed.replicas:
            await self._client.patch(
                core.DEPLOYMENT,
                meta.name(deployment),
                {"spec": {"replicas": plan.scale}},
                key.namespace,
                subresource="scale",
            )
        memory.at_zero = (observed.replicas if plan.scale is None else plan.scale) == 0
        await self._say(autoscaler, plan, observed)
        return self._again(plan, memory, observed)

    def _again(self, plan: Plan, memory: Memory, observed: Observed) -> LookAgain | None:
        """Every tick while there is a pod or a wish for one; when to look at the latest, if sooner."""
        if memory.at_zero and observed.replicas == 0 and plan.after is None:
            return None
        tick = self._settings.autoscaler.tick
        return LookAgain(min(tick, max(plan.after, 0.05)) if plan.after is not None else tick)

    def _scaling(self, autoscaler: Object) -> Scaling:
        settings = autoscaler_config(self._cache, self._settings.autoscaler)
        deadline = progress_deadline(meta.annotations(autoscaler), self._settings)
        return scaling_of(autoscaler, settings, deadline)

    def _memory(self, key: Key, scaling: Scaling, ready: int, now: float) -> Memory:
        found = self._memories.get(key)
        if found is None or found.shape != Memory.shape_of(scaling):
            found = self._memories[key] = Memory(scaling, ready, now)
        return found

    async def _say(self, autoscaler: Object, plan: Plan, observed: Observed) -> None:
        status: Object = {"observedGeneration": meta.generation(autoscaler)}
        status["actualScale"] = observed.ready
        status["desiredScale"] = plan.desired
        initialized = Condition(INITIALIZED, "True" if plan.initialized else "Unknown")
        status["conditions"] = CONDITIONS.compute([plan.active, initialized], autoscaler, self._clock.now())
        await say(self._client, POD_AUTOSCALER, autoscaler, status)

    def _all_if_ours(self, config_map: Object) -> Iterable[Key]:
        """A changed config-autoscaler concerns every revision."""
        if meta.key(config_map) != Key(CONFIG_NAMESPACE, CONFIG_AUTOSCALER):
            return ()
        return [meta.key(one) for one in self._cache.list(POD_AUTOSCALER)]


def _observe(autoscaler: Object, deployment: Object, now: float, *, reporting: bool) -> Observed:
    active = find(autoscaler, "Active")
    initialized = find(autoscaler, INITIALIZED)
    lasted = 0.0
    if active is not None and active.transition:
        lasted = max(0.0, now - meta.parse_timestamp(active.transition))
    return Observed(
        replicas=int(meta.spec(deployment).get("replicas") or 0),
        ready=int(meta.status(deployment).get("readyReplicas") or 0),
        before=Before(active.status if active else "", active.reason if active else "", lasted),
        initialized=initialized is not None and initialized.status == "True",
        reporting=reporting,
    )
