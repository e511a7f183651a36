"""The control part: API server, store, controllers, autoscaler, registry, git, listeners, in one process.

Law: composition only; whatever is decided is decided in the packages below. The API serves before the controllers
run, because every other part starts by asking it. IO: opens the store, serves two sockets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from funcs.api import core
from funcs.api.admission import NO_RULES
from funcs.api.catalog import KINDS, kind_of
from funcs.api.meta import Object
from funcs.api.rules import RULES as STRUCTURAL_RULES
from funcs.api.rules import VIEWS
from funcs.control.client import LogOptions
from funcs.control.clock import Clock, SystemClock
from funcs.control.engine import EngineSettings
from funcs.control.ids import RandomIds
from funcs.control.informer import Informers
from funcs.control.loop import Loop
from pipelines.engine.controllers import controllers as pipeline_controllers
from pipelines.language.admission import RULES as LANGUAGE_RULES
from pipelines.steps.pod import PodSettings
from runtimes.cluster import workloads
from runtimes.cluster.api.app import ApiServer, ApiSettings
from runtimes.cluster.api.authentication import Authenticator, TokenIssuer
from runtimes.cluster.api.bootstrap import bootstrap
from runtimes.cluster.api.server import Tls, serve
from runtimes.cluster.api.tokens import TokenKey
from runtimes.cluster.logs import stream_log
from runtimes.cluster.pki import Pki
from runtimes.cluster.store import StoreClient, StoreSettings
from runtimes.cluster.workloads.namespaces import lasting
from runtimes.cluster.workloads.placement import node_labels, placing
from runtimes.serving.autoscaler import Autoscaler
from runtimes.serving.controllers import controllers as serving_controllers
from runtimes.serving.listener import StatsListener
from runtimes.serving.settings import ServingSettings

from . import credentials
from .duty import Duty
from .first import OPTIONS, first_objects
from .guardian import guard
from .hub import Hub

RULES = {**STRUCTURAL_RULES, **LANGUAGE_RULES}
_EXPIRY = 300.0  # seconds between two looks for core Events that have had their time


async def run(duty: Duty) -> None:
    """Until told to stop."""
    clock, informers = SystemClock(), Informers(KINDS)
    keys = Pki(duty.places.pki)
    tokens = credentials.ensure(duty.places)
    signing = TokenKey(keys.token_key())
    async with AsyncExitStack() as stack:
        store = await _store(duty, clock, informers, TokenIssuer(signing, clock, RandomIds()))
        stack.push_async_callback(store.close)
        await bootstrap(store, KINDS, VIEWS, clock.now())
        authenticator = Authenticator(tokens.static(), signing, store, clock)
        api = ApiServer(ApiSettings(kinds=KINDS, views=VIEWS, rules=RULES), store, informers, authenticator, clock)
        hub = Hub(duty, tokens, store, clock, duty.record.cache)
        serving = ServingSettings(external_port=duty.record.ports.gateway)
        autoscaler = Autoscaler(store, informers, clock, serving)
        controllers = [
            *workloads.controllers(store, informers, clock, root_ca=keys.authority_pem().decode()),
            *serving_controllers(store, informers, clock, serving, hub.resolve_digest, autoscaler),
            *pipeline_controllers(store, informers, clock, PodSettings(tools_image=hub.tools_image)),
            *hub.controllers(informers),
        ]
        loop = await stack.enter_async_context(Loop(controllers, informers, store, clock, random.random))
        await loop.synced()
        await stack.enter_async_context(_serving(api, duty, keys))
        await stack.enter_async_context(hub.serving())
        await stack.enter_async_context(StatsListener(str(duty.places.run / "autoscaler.sock"), autoscaler))
        await stack.enter_async_context(_in_background(_expire(store, clock), "event expiry"))
        for obj in first_objects():
            await store.apply(kind_of(obj), obj, OPTIONS)
        await stack.enter_async_context(_in_background(guard(duty, clock), "guardian"))
        duty.ready()
        await _first_of(duty.stop.wait(), loop.wait())


async def _store(duty: Duty, clock: Clock, informers: Informers, issuer: TokenIssuer) -> StoreClient:
    node = duty.record.node
    rules = {**RULES, core.POD: placing(RULES[core.POD], node, node_labels(node))}
    rules |= {kind: lasting(rules.get(kind, NO_RULES), informers) for kind in KINDS if kind.namespaced}
    engine = EngineSettings(
        rules=rules,
        config=_ConfigMaps(informers),
        hooks={"token": issuer.issue},
        logs=_PodLogs(duty.places.pods, clock),
    )
    return await StoreClient.open(duty.places.store, KINDS, clock, RandomIds(), StoreSettings(engine=engine))


@dataclass(frozen=True, slots=True)
class _PodLogs:
    """The store's LogSource: pods' logs are files on this machine."""

    pods: Path
    clock: Clock

    def stream(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        return stream_log(self.pods, pod, options, self.clock.now())


@dataclass(frozen=True, slots=True)
class _ConfigMaps:
    """Admission's view of the configuration: data of config maps by name, of the system's namespaces."""

    cache: Informers

    def __call__(self) -> Mapping[str, Mapping[str, str]]:
        return {
            found["metadata"]["name"]: found.get("data") or {}
            for namespace in ("knative-serving", "knative-eventing", "tekton-pipelines")
            for found in self.cache.list(core.CONFIG_MAP, namespace)
        }


@asynccontextmanager
async def _serving(api: ApiServer, duty: Duty, keys: Pki) -> AsyncIterator[None]:
    tls = Tls(keys.server, keys.server_key)
    async with _in_background(serve(api, duty.sockets["api"], tls, closing=api.close), "api server"):
        yield


async def _expire(store: StoreClient, clock: Clock) -> None:
    while True:
        await store.expire_events(core.EVENT)
        await clock.sleep(_EXPIRY)


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    """Work that ends with the block."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _first_of(*waits: object) -> None:
    """Return when the first returns; raise what the first to end raises."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks)
