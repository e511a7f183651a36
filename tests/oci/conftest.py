"""A registry on loopback, in a thread of its own, and a small image to move about."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from funcs.oci import layer, model
from funcs.oci.credentials import Credential, Credentials
from funcs.oci.layout import Layout
from funcs.oci.model import Configuration, Descriptor, Manifest, Rootfs
from funcs.oci.registry import Delays
from runtimes.cluster.registry.access import by_token
from runtimes.cluster.registry.server import RegistryServer
from runtimes.cluster.registry.uploads import Uploads, UploadSettings

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Running:
    name: str
    layout: Layout

    @property
    def credentials(self) -> Credentials:
        return Credentials(given={self.name: Credential("tests", TOKEN)})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "images")


@pytest.fixture
def registry_server(tmp_path: Path) -> Iterator[Running]:
    store = Layout(tmp_path / "registry")
    ids = itertools.count()
    uploads = Uploads(store, UploadSettings(), time.monotonic, lambda: f"upload-{next(ids)}")
    server = RegistryServer(store, by_token({TOKEN: "tests"}.get), uploads)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = Starlette(routes=list(server.routes()))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listener])))
        thread.start()
        try:
            yield Running(f"localhost:{listener.getsockname()[1]}", store)
        finally:
            running.should_exit = True
            thread.join(10)
            server.close()
    assert not list((store.root / "ingest").iterdir()), "every upload is finished or dropped"


@pytest.fixture
def delays() -> Delays:
    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    return Delays(at_once, lambda: 0.5)


@pytest.fixture
def image(layout: Layout) -> Descriptor:
    return make_image(layout, b"hello")


def make_image(layout: Layout, content: bytes, repository: str = "tests/hello", tag: str = "latest") -> Descriptor:
    with layout.ingest() as blob:
        made = layer.write([layer.file("etc/greeting", content)], blob, "gzip")
        blob.commit(made.descriptor.digest)
    config = model.encode(Configuration(architecture="amd64", os="linux", rootfs=Rootfs(diff_ids=[made.diff_id])))
    layout.put(config)
    manifest = Manifest(
        schema_version=2,
        media_type=model.OCI_MANIFEST,
        config=model.described(config, model.OCI_CONFIG),
        layers=[made.descriptor],
    )
    return layout.put_manifest(repository, model.encode(manifest), model.OCI_MANIFEST, tag)
