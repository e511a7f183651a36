"""The node: registers itself, watches its pods, gives each a worker.

Law: only a pod whose `spec.nodeName` is this node's is touched. When the node ends, its pods run on; when it comes back
it takes them over, and what nobody wants any more it removes. IO: the Client, and through the workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import Client, EventType, Selection
from funcs.control.clock import Clock
from funcs.errors import Conflict, Expired, FuncsError, NotFound

from ..images import ImageStore
from .cleanup import remove_pod
from .ports import Ports
from .recorder import Recorder
from .runtime import PodRuntime
from .settings import NodeSettings, Surroundings
from .worker import PodWorker

_LEASE_SECONDS = 40
_BEAT = 10.0
_RETRY = 1.0
_TIDY = 3600.0
_log = logging.getLogger(__name__)


class Node:
    """`run` until cancelled; `ready` is set once the node has registered and seen its pods."""

    def __init__(
        self, client: Client, images: ImageStore, runtime: PodRuntime, settings: NodeSettings, clock: Clock
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._recorder = Recorder(client, settings.name, clock)
        self._around = Surroundings(
            client=client, images=images, runtime=runtime, clock=clock, settings=settings, ports=Ports(),
            recorder=self._recorder,
        )  # fmt: skip
        self._workers: dict[str, PodWorker] = {}
        self._first = True
        self.ready = asyncio.Event()

    async def run(self) -> None:
        self._settings.pods.mkdir(parents=True, exist_ok=True)
        await self._until_it_works(self._register)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            group.create_task(self._heartbeat())
            group.create_task(self._tidy())
            while True:
                await self._until_it_works(lambda: self._watch(group))

    async def _until_it_works(self, work: object) -> None:
        while True:
            try:
                await work()  # type: ignore[operator]
            except Expired:
                continue
            except FuncsError as error:
                _log.warning("node %s: %s", self._settings.name, error)
                await self._clock.sleep(_RETRY)
            else:
                return

    # pods

    async def _watch(self, group: asyncio.TaskGroup) -> None:
        mine = Selection(fields=f"spec.nodeName={self._settings.name}")
        listed = await self._client.list(core.POD, mine)
        uids = {meta.uid(pod) for pod in listed.items}
        for pod in listed.items:
            self._see(pod, group)
        for uid in self._workers.keys() - uids:
            self._vanished(uid)
        if self._first:
            await self._remove_unwanted(uids)
            self._first = False
        self.ready.set()
        async for event in self._client.watch(core.POD, mine, resource_version=listed.resource_version):
            if event.type is EventType.DELETED:
                self._vanished(meta.uid(event.object))
            elif event.type is not EventType.BOOKMARK:
                self._see(event.object, group)

    def _see(self, pod: Object, group: asyncio.TaskGroup) -> None:
        uid = meta.uid(pod)
        known = self._workers.get(uid)
        if known is not None:
            known.update(pod)
            return
        self._workers[uid] = PodWorker(self._around, pod)
        group.create_task(self._work(uid))

    def _vanished(self, uid: str) -> None:
        if uid in self._workers:
            self._workers[uid].vanished()

    async def _work(self, uid: str) -> None:
        """The pod's worker until the pod is gone; one that fails is followed by another, as after a restart."""
        while True:
            try:
                await self._workers[uid].run()
            except* Exception as errors:
                _log.exception("pod %s: its worker failed", uid, exc_info=errors)
            else:
                del self._workers[uid]
                return
            await self._clock.sleep(_RETRY)
            self._workers[uid] = self._workers[uid].successor()

    async def _remove_unwanted(self, wanted: set[str]) -> None:
        for directory in self._settings.pods.iterdir():
            if directory.is_dir() and directory.name not in wanted:
                await asyncio.to_thread(remove_pod, directory, 0.0)

    # the node's own object

    async def _register(self) -> None:
        name = self._settings.name
        node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": _labels(name)}}
        try:
            found = await self._client.get(core.NODE, name)
        except NotFound:
            found = await self._client.create(core.NODE, node)
        status = self._status(found)
        if any(meta.status(found).get(key) != value for key, value in status.items()):
            await self._client.patch_status(core.NODE, name, status)

    def _status(self, found: Object) -> Object:
        capacity = dict(self._settings.capacity or machine_capacity(self._settings.state))
        old = {each["type"]: each for each in meta.status(found).get("conditions") or []}
        now = meta.timestamp(self._clock.now())

        def condition(type: str, status: str, reason: str, message: str) -> Object:
            held = old.get(type)
            since = held["lastTransitionTime"] if held is not None and held["status"] == status else now
            return {"type": type, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}

        return {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [
                condition(
                    "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"
                ),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", f"pods run by {self._around.runtime.name}"),
            ],
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self._settings.name},
            ],
            "nodeInfo": _machine(self._settings.version, self._around.runtime.name),
        }

    async def _heartbeat(self) -> None:
        while True:
            try:
                await self._renew()
            except FuncsError as error:
                _log.warning("node %s: lease: %s", self._settings.name, error)
            await self._clock.sleep(_BEAT)

    async def _tidy(self) -> None:
        """Every hour: unpacked images that are images no more."""
        while True:
            await self._clock.sleep(_TIDY)
            try:
                removed = await asyncio.to_thread(self._around.images.collect, self._clock.now() - _TIDY)
            except (FuncsError, OSError) as error:
                _log.warning("node %s: snapshots: %s", self._settings.name, error)
            else:
                _log.info("node %s: %d snapshots removed", self._settings.name, len(removed))

    async def _renew(self) -> None:
        name, now = self._settings.name, meta.micro_timestamp(self._clock.now())
        spec = {"holderIdentity": name, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": now}
        try:
            await self._client.patch(core.LEASE, name, {"spec": spec}, "kube-node-lease")
        except NotFound:
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
            try:
                await self._client.create(
                    core.LEASE, {**lease, "metadata": {"name": name, "namespace": "kube-node-lease"}}
                )
            except Conflict:
                return


def machine_capacity(state: Path) -> Mapping[str, str]:
    """This machine's CPUs, memory and disk as quantities."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    except (ValueError, OSError):
        memory = 1 << 20
    disk = shutil.disk_usage(state if state.exists() else "/").total // 1024
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{memory}Ki", "ephemeral-storage": f"{disk}Ki", "pods": "1000"}


def _labels(name: str) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": platform.system().lower(),
        "kubernetes.io/arch": _architecture(),
    }


def _machine(version: str, runtime: str) -> Object:
    return {
        "architecture": _architecture(),
        "operatingSystem": platform.system().lower(),
        "kernelVersion": platform.release(),
        "osImage": platform.platform(terse=True),
        "containerRuntimeVersion": f"{runtime}://{version or '0'}",
        "kubeletVersion": f"v{version or '0'}",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
