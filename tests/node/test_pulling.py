"""Images of other registries: pulled, with the pod's own credentials, and refused in the registry's words."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from funcs.api import meta
from funcs.api.meta import Object
from funcs.oci import model, transfer
from funcs.oci.credentials import Credentials
from funcs.oci.layout import Layout
from funcs.oci.reference import parse
from funcs.oci.registry import Delays, connect
from runtimes.cluster.registry.access import by_token
from runtimes.cluster.registry.server import RegistryServer
from runtimes.cluster.registry.uploads import Uploads, UploadSettings
from tests.node.harness import World, container_status, put_image, shell_entries, terminated, waiting

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Elsewhere:
    """Another registry: its name and what it holds."""

    name: str
    layout: Layout


def saying(text: str) -> model.Execution:
    return model.Execution(cmd=["/bin/sh", "-c", f"echo {text}"], labels={"dev.funcs.base": "host"})


@contextmanager
def serving(root: Path, *, open_reads: bool) -> Iterator[Elsewhere]:
    store = Layout(root)
    put_image(store, "tests/sh", "1", [shell_entries()], saying("from elsewhere"))
    ids = itertools.count()
    uploads = Uploads(store, UploadSettings(), time.monotonic, lambda: f"upload-{next(ids)}")
    server = RegistryServer(store, by_token({TOKEN: "tests"}.get, open_reads=open_reads), uploads)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = Starlette(routes=list(server.routes()))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listener])))
        thread.start()
        try:
            yield Elsewhere(f"localhost:{listener.getsockname()[1]}", store)
        finally:
            running.should_exit = True
            thread.join(10)
            server.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    with serving(tmp_path / "elsewhere", open_reads=True) as found:
        yield found


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Elsewhere]:
    with serving(tmp_path / "private", open_reads=False) as found:
        yield found


def pod(image: str, policy: str = "", secret: str = "") -> Object:
    container = {"name": "main", "image": image} | ({"imagePullPolicy": policy} if policy else {})
    spec: Object = {"restartPolicy": "Never", "containers": [container]}
    return spec | ({"imagePullSecrets": [{"name": secret}]} if secret else {})


def login(world: World, name: str, registry: str, password: str) -> None:
    auth = base64.b64encode(f"anybody:{password}".encode()).decode()
    document = json.dumps({"auths": {registry: {"auth": auth}}, "credsStore": "never-run"})
    world.client.seed({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": "default"},
        "data": {".dockerconfigjson": base64.b64encode(document.encode()).decode()},
    })  # fmt: skip


async def test_an_image_of_another_registry_is_pulled_and_run(world: World, elsewhere: Elsewhere) -> None:
    image = f"{elsewhere.name}/tests/sh:1"
    await world.create("far", pod(image))
    ended = await world.phase("far", "Succeeded")
    assert world.log(ended) == "from elsewhere\n"
    digest = elsewhere.layout.manifests("tests/sh")[0].digest
    assert container_status(ended)["imageID"] == f"{elsewhere.name}/tests/sh@{digest}"


async def test_a_pulled_image_needs_no_network_again_unless_the_policy_is_always(world: World, tmp_path: Path) -> None:
    with serving(tmp_path / "elsewhere", open_reads=True) as elsewhere:
        image = f"{elsewhere.name}/tests/sh:1"
        await world.create("first", pod(image))
        await world.phase("first", "Succeeded")
    await world.create("again", pod(image, "IfNotPresent"))
    await world.create("never", pod(image, "Never"))
    await world.create("always", pod(image, "Always"))
    await world.phase("again", "Succeeded")
    await world.phase("never", "Succeeded")
    refused = await world.until("always", lambda pod: waiting(pod) == "ErrImagePull", "ErrImagePull")
    assert "cannot be reached" in container_status(refused)["state"]["waiting"]["message"]


async def test_always_sees_that_a_tag_has_moved(world: World, elsewhere: Elsewhere) -> None:
    image = f"{elsewhere.name}/tests/sh:1"
    await world.create("before", pod(image, "Always"))
    await world.phase("before", "Succeeded")
    put_image(elsewhere.layout, "tests/sh", "1", [shell_entries()], saying("moved"))
    await world.create("after", pod(image, "Always"))
    assert world.log(await world.phase("after", "Succeeded")) == "moved\n"


async def test_what_was_never_pulled_is_not_run_under_the_policy_never(world: World, elsewhere: Elsewhere) -> None:
    await world.create("absent", pod(f"{elsewhere.name}/tests/sh:1", "Never"))
    await world.until("absent", lambda pod: waiting(pod) == "ErrImageNeverPull", "ErrImageNeverPull")


async def test_the_pods_secret_opens_a_private_registry(world: World, private: Elsewhere) -> None:
    login(world, "right", private.name, TOKEN)
    await world.create("allowed", pod(f"{private.name}/tests/sh:1", secret="right"))
    await world.phase("allowed", "Succeeded")


async def test_the_service_accounts_secret_serves_pods_that_name_none(world: World, private: Elsewhere) -> None:
    login(world, "right", private.name, TOKEN)
    world.client.seed({"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "right"}],
                       "metadata": {"name": "default", "namespace": "default"}})  # fmt: skip
    await world.create("allowed", pod(f"{private.name}/tests/sh:1"))
    await world.phase("allowed", "Succeeded")


@pytest.mark.parametrize(("secret", "said"), [("", "401"), ("wrong", "401"), ("broken", "cannot be read")])
async def test_a_refusal_is_said_in_the_registrys_words(
    world: World, private: Elsewhere, secret: str, said: str
) -> None:
    login(world, "wrong", private.name, "not-the-token")
    world.client.seed({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "broken", "namespace": "default"},
                       "data": {".dockerconfigjson": base64.b64encode(b"[").decode()}})  # fmt: skip
    await world.create("refused", pod(f"{private.name}/tests/sh:1", secret=secret))
    refused = await world.until("refused", lambda pod: waiting(pod) == "ErrImagePull", "ErrImagePull")
    message = container_status(refused)["state"]["waiting"]["message"]
    assert said in message, message
    assert "not-the-token" not in json.dumps(meta.status(refused))


async def test_a_tag_that_is_not_there_is_named(world: World, elsewhere: Elsewhere) -> None:
    await world.create("typo", pod(f"{elsewhere.name}/tests/sh:2"))
    refused = await world.until("typo", lambda pod: waiting(pod) == "ErrImagePull", "ErrImagePull")
    assert f"{elsewhere.name}/tests/sh:2" in container_status(refused)["state"]["waiting"]["message"]
    assert "MANIFEST_UNKNOWN" in container_status(refused)["state"]["waiting"]["message"]


@pytest.fixture
def debian_registry(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no docker-registry on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "registry.yml"
    storage, address = {"filesystem": {"rootdirectory": f"{tmp_path}/docker"}}, {"addr": f"127.0.0.1:{port}"}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": address}))
    process = subprocess.Popen([program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not _answers(port):
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/").status_code == 200
    except httpx.TransportError:
        return False


async def test_it_pulls_from_dockers_own_registry(world: World, debian_registry: str, elsewhere: Elsewhere) -> None:
    image = f"{debian_registry}/tests/sh:1"
    delays = Delays(asyncio.sleep, lambda: 0.0)
    async with connect(Credentials(), delays) as registry:
        await transfer.push(registry, elsewhere.layout, elsewhere.layout.manifests("tests/sh")[0], parse(image))
    await world.create("docker", pod(image))
    ended = await world.phase("docker", "Succeeded")
    assert terminated(ended)["exitCode"] == 0
    assert world.log(ended) == "from elsewhere\n"
