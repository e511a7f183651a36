"""The node part: this machine's agent, with the runtime that was found to work here.

Law: composition only. IO: the API, the image layout, pods.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path

from funcs.control.clock import SystemClock
from funcs.kube import HttpClient, from_kubeconfig
from funcs.oci.layout import Layout
from funcs.oci.registry import Delays
from funcs.version import __version__
from pipelines.builders.host.interpreter import this_target
from runtimes.cluster.images import ImageStore
from runtimes.cluster.node.agent import Node
from runtimes.cluster.node.detect import detect
from runtimes.cluster.node.settings import NodeSettings
from runtimes.cluster.pki import Pki
from runtimes.cluster.puller import RegistryPuller

from .duty import Duty
from .places import write_atomically
from .prepare import kubeconfig_of


async def run(duty: Duty) -> None:
    """Until told to stop; pods run on."""
    places, record = duty.places, duty.record
    interpreter = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    found = await asyncio.to_thread(detect, record.isolation, interpreter, duty.search_path, places.run)
    write_atomically(places.run / "runtime", found.text.encode() + b"\n")
    client = HttpClient(await from_kubeconfig(kubeconfig_of(places, "node")))
    settings = NodeSettings(
        name=record.node,
        state=places.root,
        run=places.run,
        service={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(record.ports.api)},
        certificate_authority=Pki(places.pki).authority_pem().decode(),
        capacity={"cpu": str(os.cpu_count() or 1), "memory": _memory(), "pods": "250"},
        version=__version__,
    )
    clock = SystemClock()
    puller = RegistryPuller(this_target().platform, Delays(clock.sleep, secrets.SystemRandom().random))
    images = ImageStore(Layout(places.images), this_target().platform, record.registry, puller)
    node = Node(client, images, found.runtime, settings, clock)
    running = asyncio.create_task(node.run(), name="node")
    waits = {running, asyncio.create_task(node.ready.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            duty.ready()
            await asyncio.wait((running, asyncio.create_task(duty.stop.wait())), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.wait((running,))
        await client.close()


def _memory() -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size // 1024}Ki"
