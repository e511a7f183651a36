"""A node over the in-memory Client and a real image layout, and ways to ask what became of a pod."""

from __future__ import annotations

import asyncio
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import DeleteOptions
from funcs.control.clock import SystemClock
from funcs.control.memory import MemoryClient
from funcs.oci import layer, model
from funcs.oci.layout import Layout
from funcs.oci.registry import Delays
from runtimes.cluster.images import ImageStore
from runtimes.cluster.node.agent import Node
from runtimes.cluster.node.runtime import PodRuntime
from runtimes.cluster.node.settings import NodeSettings
from runtimes.cluster.puller import RegistryPuller

REGISTRY = "localhost:7500"
IMAGE = f"{REGISTRY}/test/sh:1"
DEADLINE = 8.0
MACHINE = model.Platform(architecture={"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], os="linux")
PULLER = RegistryPuller(MACHINE, Delays(lambda seconds: asyncio.sleep(0), lambda: 0.0))


def libraries(program: str) -> list[str]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [word for word in listed.split() if word.startswith("/") and Path(word).exists()]


def shell_entries() -> list[layer.Entry]:
    """A root with a shell and a few commands, made from this machine's own."""
    found: dict[str, layer.Entry] = {}
    for name in ("sh", "cat", "sleep", "id", "ls", "env", "mkdir", "touch", "dd", "head", "readlink"):
        program = shutil.which(name)
        assert program is not None
        found[f"bin/{name}"] = layer.file(f"bin/{name}", Path(program).resolve(), executable=True)
        for library in libraries(program):
            path = library.lstrip("/")
            found[path] = layer.file(path, Path(library).resolve(), executable=True)
    found |= {path: layer.directory(path) for path in ("etc", "proc", "sys", "dev", "app")}
    found["tmp"] = layer.directory("tmp", 0o1777)
    found["etc/passwd"] = layer.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nworker:x:65532:65532::/:/bin/sh\n")
    found["app/greeting"] = layer.file("app/greeting", b"hello from the image\n")
    return [found[path] for path in sorted(found)]


def put_image(
    layout: Layout, repository: str, tag: str, layers: list[list[layer.Entry]], config: model.Execution
) -> None:
    made = []
    for entries in layers:
        with layout.ingest() as blob:
            made.append(layer.write(entries, blob, "gzip"))
            blob.commit(made[-1].descriptor.digest)
    configuration = model.Configuration(
        architecture=MACHINE.architecture, os="linux", config=config,
        rootfs=model.Rootfs(diff_ids=[each.diff_id for each in made]),
    )  # fmt: skip
    data = model.encode(configuration)
    manifest = model.Manifest(
        schema_version=2, media_type=model.OCI_MANIFEST,
        config=model.Descriptor(media_type=model.OCI_CONFIG, digest=layout.put(data), size=len(data)),
        layers=[each.descriptor for each in made],
    )  # fmt: skip
    layout.put_manifest(repository, model.encode(manifest), model.OCI_MANIFEST, tag)


@dataclass
class World:
    client: MemoryClient
    settings: NodeSettings
    runtime: PodRuntime
    images: ImageStore
    node: Node | None = None
    task: asyncio.Task[None] | None = None
    uids: list[str] = field(default_factory=list)

    async def start(self) -> None:
        self.node = Node(self.client, self.images, self.runtime, self.settings, SystemClock())
        self.task = asyncio.create_task(self.node.run())
        async with asyncio.timeout(DEADLINE):
            await self.node.ready.wait()

    async def stop(self) -> None:
        """As kill -9 would: nothing is told to the pods."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def create(self, name: str, spec: Object, annotations: dict[str, str] | None = None) -> Object:
        body = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations or {}},
            "spec": {"nodeName": "here", "terminationGracePeriodSeconds": 1, **spec},
        }  # fmt: skip
        made = await self.client.create(core.POD, body)
        self.uids.append(meta.uid(made))
        return made

    async def run(self, name: str, script: str, **container: Any) -> Object:
        """One container that runs a shell script; restartPolicy Never unless given."""
        policy = container.pop("restartPolicy", "Never")
        made = {"name": "main", "image": IMAGE, "command": ["/bin/sh", "-c", script], **container}
        return await self.create(name, {"restartPolicy": policy, "containers": [made]})

    async def until(self, name: str, condition: Callable[[Object], Any], what: str = "") -> Object:
        pod: Object = {}
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    pod = await self.client.get(core.POD, name, "default")
                    if condition(pod):
                        return pod
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"pod {name} never was {what}: {pod.get('status')}") from None

    async def phase(self, name: str, phase: str) -> Object:
        return await self.until(name, lambda pod: meta.status(pod).get("phase") == phase, phase)

    async def gone(self, name: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while any(meta.name(pod) == name for pod in self.client.objects(core.POD)):
                await asyncio.sleep(0.01)

    async def delete(self, name: str) -> None:
        await self.client.delete(core.POD, name, "default", DeleteOptions(grace_seconds=1))
        await self.gone(name)

    def directory(self, pod: Object) -> Path:
        return self.settings.pods / meta.uid(pod)

    def log(self, pod: Object, container: str = "main", file: str = "log") -> str:
        text = (self.directory(pod) / container / file).read_text()
        return "".join(line.split(" ", 3)[3] for line in text.splitlines(keepends=True))


def terminated(pod: Object, name: str = "main") -> Object:
    return state(pod, name).get("terminated") or {}


def state(pod: Object, name: str = "main") -> Object:
    return container_status(pod, name).get("state") or {}


def waiting(pod: Object, name: str = "main") -> str:
    """Why it waits; "" if it does not."""
    return str((state(pod, name).get("waiting") or {}).get("reason", ""))


def container_status(pod: Object, name: str = "main") -> Object:
    listed = [
        *(meta.status(pod).get("containerStatuses") or []),
        *(meta.status(pod).get("initContainerStatuses") or []),
    ]
    return next((each for each in listed if each["name"] == name), {})


def traces(uids: list[str]) -> list[str]:
    """What of these pods is left on the machine."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if any(uid in line for uid in uids)]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/funcs/*") if any(uid in path.name for uid in uids)]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(uid in command for uid in uids):
            found.append(command)
    return mounts + groups + found
