"""Fixtures: each runtime that works here runs every scenario; afterwards nothing may be left."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from funcs.control.clock import SystemClock
from funcs.control.ids import RandomIds
from funcs.control.memory import MemoryClient
from funcs.oci import model
from funcs.oci.layout import Layout
from runtimes.cluster.images import ImageStore
from runtimes.cluster.node.cleanup import stop_all
from runtimes.cluster.node.detect import detect
from runtimes.cluster.node.link import read_record
from runtimes.cluster.node.oci_bundle import CrunRuntime
from runtimes.cluster.node.plain import ProcessRuntime
from runtimes.cluster.node.runtime import PodRuntime
from runtimes.cluster.node.settings import NodeSettings
from tests.node.harness import MACHINE, PULLER, REGISTRY, World, put_image, shell_entries, traces


@pytest.fixture(scope="session")
def images_root() -> Iterator[Path]:
    """One layout for the session, somewhere every user may pass."""
    with tempfile.TemporaryDirectory(prefix="funcs-images-") as directory:
        Path(directory).chmod(0o755)
        layout = Layout(Path(directory))
        host = {"dev.funcs.base": "host"}
        config = model.Execution(
            env=["PATH=/usr/bin:/bin", "COLOUR=blue"], cmd=["/bin/sh", "-c", "echo from cmd"], labels=host
        )
        put_image(layout, "test/sh", "1", [shell_entries()], config)
        put_image(layout, "test/foreign", "1", [shell_entries()], model.Execution(cmd=["/bin/sh"]))
        yield Path(directory)


@pytest.fixture(scope="session")
def detected() -> Any:
    return detect("auto", sys.executable, os.environ.get("PATH", os.defpath), Path(tempfile.gettempdir()))


@pytest.fixture(params=["process", "crun"])
def runtime(request: pytest.FixtureRequest, detected: Any) -> PodRuntime:
    if request.param == "process":
        return ProcessRuntime(sys.executable, os.environ.get("PATH", os.defpath))
    if not isinstance(detected.runtime, CrunRuntime):
        pytest.skip(detected.text)
    return detected.runtime


@pytest.fixture
async def world(runtime: PodRuntime, images_root: Path) -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="funcs-node-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        settings = NodeSettings(
            name="here", state=root, run=root / "run",
            service={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "7443"},
            capacity={"cpu": "2", "memory": "1Gi", "pods": "100"},
        )  # fmt: skip
        client = MemoryClient(clock=SystemClock(), ids=RandomIds())
        client.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        client.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}})
        images = ImageStore(Layout(images_root), MACHINE, REGISTRY, PULLER)
        made = World(client, settings, runtime, images)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()
            records = [read_record(each) for each in settings.pods.iterdir()]
            await asyncio.to_thread(stop_all, root, 0.0)
            assert not [record for record in records if record is not None and record.is_alive()]
            assert traces(made.uids) == []
