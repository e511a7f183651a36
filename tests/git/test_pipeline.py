"""A push, end to end: git server, webhook, EventListener, and what its template makes."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from funcs.api import core, meta
from funcs.api.meta import Key, Object
from funcs.control.ids import SerialIds
from funcs.control.memory import MemoryClient
from funcs.errors import NotFound
from pipelines.triggers.listener import Listener
from runtimes.cluster.api.server import serve
from runtimes.cluster.git.arrivals import Arrivals
from runtimes.cluster.git.repositories import Repositories
from runtimes.cluster.git.server import GitServer
from runtimes.cluster.git.webhook import Webhook

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is missing")

API = "triggers.tekton.dev/v1beta1"
BINDING = [{"name": "commit", "value": "$(body.after)"}, {"name": "message", "value": "$(body.head_commit.message)"}]
MADE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"generateName": "build-"},
    "data": {"commit": "$(tt.params.commit)", "message": "$(tt.params.message)"},
}
SECRET = {"secretName": "webhook", "secretKey": "secret"}


def resources(secret: bytes) -> list[Object]:
    trigger = {
        "name": "push",
        "interceptors": [{"ref": {"name": "github"}, "params": [{"name": "secretRef", "value": SECRET}]}],
        "bindings": BINDING,
        "template": {
            "spec": {"params": [{"name": "commit"}, {"name": "message"}], "resourcetemplates": [MADE]},
        },
    }
    metadata = {"name": "git", "namespace": "default"}
    return [
        {"apiVersion": API, "kind": "EventListener", "metadata": metadata, "spec": {"triggers": [trigger]}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "webhook", "namespace": "default"},
            "data": {"secret": base64.b64encode(secret).decode()},
        },
    ]


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        pytest.param(b"shared", "made ConfigMap build-", id="signed with the cluster's secret"),
        pytest.param(b"other", "payload signature check failed", id="signed with another"),
    ],
)
async def test_a_push_makes_what_the_listeners_template_says(tmp_path: Path, secret: bytes, says: str) -> None:
    client = MemoryClient()
    client.seed(*resources(secret))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with (
        Listener(client, SerialIds().uid) as listener,
        httpx.AsyncClient(headers={"connection": "close"}) as http,
    ):

        async def post(to: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
            answer = await http.post(to, content=body, headers=dict(headers))
            return answer.status_code, answer.content

        async def follow(event_id: str, namespace: str) -> AsyncIterator[str]:
            outcome = await listener.outcome(event_id, 5)
            for made in outcome.created:
                yield f"made {made['kind']} {meta.name(made)}"
            if not outcome.created:
                raise NotFound("; ".join(f"{name}: {why}" for name, why in outcome.refused.items()))

        repositories = Repositories(tmp_path / "git", os.environ["PATH"])
        webhook = Webhook(
            url=lambda repository: f"{url}/listeners/{repository.namespace}/git",
            secret=b"shared", post=post, follow=follow, ids=SerialIds(1).uid,
        )  # fmt: skip
        arrivals = Arrivals(tmp_path / "hook.sock", repositories, webhook, lambda key: f"{url}/git/{key}.git")
        server = GitServer(repositories, nobody_asks, arrivals)
        async with server.serving():
            serving = asyncio.create_task(serve(Starlette(routes=[*server.routes(), *listener.routes()]), sock))
            said = await push(tmp_path, f"{url}/git/default/shop.git")
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
    assert f"remote: {says}" in said or says in said
    made = client.objects(core.CONFIG_MAP)
    assert [found["data"]["message"] for found in made] == (['Say "hi"\n$(uid)'] if secret == b"shared" else [])


def nobody_asks(headers: Mapping[str, str], repository: Key, action: str) -> str:
    return "somebody"


async def push(scratch: Path, url: str) -> str:
    script = (
        "git init -q -b main work && cd work && echo a >a && git add a && git commit -qm 'Say \"hi\"\n$(uid)' "
        f"&& git push {url} main"
    )
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(scratch), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, cwd=scratch, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode()
    return out.decode()
