"""Serving as a whole in one process: controllers, autoscaler, gateway and its line, before pods that come and go."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from funcs.api import core, meta, serving
from funcs.api.conditions import find, is_ready
from funcs.api.meta import Key, Object
from funcs.control.clock import SystemClock
from funcs.control.controller import Controller, LookAgain, Watch
from funcs.control.informer import Informers
from funcs.control.loop import Loop
from funcs.control.memory import MemoryClient
from funcs.errors import AlreadyExists
from runtimes.serving import names
from runtimes.serving.autoscaler import Autoscaler
from runtimes.serving.controllers import controllers
from runtimes.serving.gateway.process import main_gateway
from runtimes.serving.gateway.settings import GatewaySettings
from runtimes.serving.listener import StatsListener
from runtimes.serving.settings import AutoscalerSettings, ServingSettings

from .gateway_rig import answering, request

QUICK = ServingSettings(autoscaler=AutoscalerSettings(stable_window=1, scale_to_zero_grace=0, tick=0.2))
IMAGE = "localhost:5000/hello@sha256:" + "a" * 64


class Cluster:
    """Plays Deployments, pods and EndpointSlices: a pod is a server that is there or not."""

    def __init__(self, client: MemoryClient, cache: Informers) -> None:
        self._client, self._cache = client, cache
        self._servers: dict[Key, asyncio.Server] = {}

    def controller(self) -> Controller:
        return Controller("cluster", self.reconcile, (Watch(core.DEPLOYMENT),))

    async def reconcile(self, key: Key) -> LookAgain | None:
        deployment = self._cache.get(core.DEPLOYMENT, key.name, key.namespace)
        if deployment is None:
            return None
        wanted = int(meta.spec(deployment).get("replicas") or 0)
        if wanted and key not in self._servers:
            self._servers[key] = await asyncio.start_server(_quietly, "127.0.0.1", 0)
        elif not wanted and key in self._servers:
            self._servers.pop(key).close()
        ready = 1 if wanted else 0
        if int(meta.status(deployment).get("readyReplicas") or 0) != ready:
            status = {"replicas": ready, "readyReplicas": ready, "availableReplicas": ready}
            await self._write(self._slice(key, deployment))
            await self._client.patch_status(core.DEPLOYMENT, key.name, status, key.namespace)
        return None

    async def _write(self, made: Object) -> None:
        try:
            await self._client.create(core.ENDPOINT_SLICE, made)
        except AlreadyExists:
            await self._client.patch(core.ENDPOINT_SLICE, meta.name(made), made, meta.namespace(made))

    def _slice(self, key: Key, deployment: Object) -> Object:
        server = self._servers.get(key)
        revision = meta.labels(deployment)["serving.knative.dev/revision"]
        service = names.private_service(revision)
        labels = {"kubernetes.io/service-name": service, "serving.knative.dev/revision": revision}
        port = server.sockets[0].getsockname()[1] if server else 1
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{service}-1", "namespace": key.namespace, "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}] if server else [],
            "ports": [{"name": "http", "port": port}],
        }

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


async def _quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await answering(b"hello")(reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        return
    finally:
        writer.close()


@asynccontextmanager
async def platform(directory: Path) -> AsyncIterator[tuple[MemoryClient, int]]:
    """(the client, the gateway's port)."""
    clock = SystemClock()
    client, cache = MemoryClient(rules=serving.RULES, clock=clock), Informers((core.CONFIG_MAP,))
    autoscaler, cluster = Autoscaler(client, cache, clock, QUICK), Cluster(client, cache)

    async def digest(image: str) -> str:
        return image

    everyone = [*controllers(client, cache, clock, QUICK, digest, autoscaler), cluster.controller()]
    sock = socket.create_server(("127.0.0.1", 0))
    stop, stats = asyncio.Event(), str(directory / "autoscaler.sock")
    async with StatsListener(stats, autoscaler), Loop(everyone, cache, client, clock, random.random):
        gateway = asyncio.create_task(
            main_gateway(GatewaySettings(), client, sock, stats, clock, random=random.random, stop=stop)
        )
        try:
            yield client, sock.getsockname()[1]
        finally:
            stop.set()
            await gateway
            cluster.close()


async def test_a_function_is_served_goes_to_zero_and_wakes(tmp_path: Path) -> None:
    async with asyncio.timeout(30), platform(tmp_path) as (client, port):
        service: Object = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [{"image": IMAGE}]}}},
        }
        await client.create(serving.SERVICE, service)
        await until_ready(client)
        assert (await ask(port)).endswith(b"hello")

        await until_replicas(client, 0)
        revision = await client.get(serving.REVISION, "hello-00001", "default")
        assert is_ready(revision)

        woken = await asyncio.gather(*(ask(port) for _ in range(20)))
        assert all(answer.endswith(b"hello") for answer in woken)
        assert any(b"server-timing: cold-start;dur=" in answer for answer in woken)
        await until_active(client, "True")
        await until_replicas(client, 0)


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(extra="Connection: close\r\n"))
    try:
        return await reader.read()
    finally:
        writer.close()


async def until_ready(client: MemoryClient) -> None:
    while not is_ready(await client.get(serving.SERVICE, "hello", "default")):
        await asyncio.sleep(0.01)


async def until_replicas(client: MemoryClient, count: int) -> None:
    name = names.deployment("hello-00001")
    while (await client.get(core.DEPLOYMENT, name, "default"))["status"].get("readyReplicas") != count:
        await asyncio.sleep(0.01)


async def until_active(client: MemoryClient, status: str) -> None:
    while (found := find(await client.get(serving.REVISION, "hello-00001", "default"), "Active")) is None or (
        found.status != status
    ):
        await asyncio.sleep(0.01)
