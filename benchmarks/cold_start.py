"""From zero to an answer: connect → first byte through the gateway, against starting func-python by hand.

Ours is a real cluster, brought up here by `funcs up`, and the function that `funcs create` makes, deployed by `funcs
deploy`; each round asks a Service of its own that has scaled to zero, so its pod is made and its modules are imported
after the connect. Theirs is func-python: spawned, then asked until it answers. Where our time goes is read off the
resources as they change, watched from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from funcs.api import core, meta, serving
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import Client
from funcs.kube import HttpClient, from_kubeconfig
from funcs.platform.places import Places

from .function import FUNC_PYTHON, PEERS
from .harness import Bench, Row, free_port

ROUNDS = 12
PATIENCE = 60.0
FUNCS = [sys.executable, "-m", "funcs"]
WINDOW = "autoscaling.knative.dev/window=6s"
STAGES = ("scaled", "created", "running", "ready", "routed", "answered")


async def rows(bench: Bench) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="funcs-bench-") as directory:
        environ = os.environ | {"XDG_STATE_HOME": f"{directory}/state", "FUNCS_CLUSTER": "bench"}
        try:
            run("up", "--any-port", cwd=directory, environ=environ)
            run("create", "cold", "--template", "http", cwd=directory, environ=environ)
            run("deploy", "cold", "--no-git", "--annotation", WINDOW, cwd=directory, environ=environ)
            state = Path(directory) / "state" / "funcs" / "bench"
            ours, theirs, stages = await asyncio.wait_for(measured(bench, state), 10 * PATIENCE)
        finally:
            subprocess.run([*FUNCS, "down", "--purge"], env=environ, capture_output=True, check=False)  # noqa: ASYNC221
    print(f"cold start, p50 ms of {ROUNDS}: " + ", ".join(f"{name} +{took:.0f}" for name, took in stages.items()))
    return [
        Row(
            name="cold start, p50", peer="func-python, exec", ours=ours, theirs=theirs, unit="ms", less_is=True,
            budget=10, enforced=False,
        )
    ]  # fmt: skip


def run(*argv: str, cwd: str, environ: dict[str, str]) -> None:
    done = subprocess.run([*FUNCS, *argv], cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`funcs {' '.join(argv)}` ended with {done.returncode}:\n{done.stderr}")


async def measured(bench: Bench, state: Path) -> tuple[float, float, dict[str, float]]:
    """Milliseconds: ours, theirs, and ours by stage; medians."""
    port = Places(state).read_record().ports.gateway
    python = bench.environment("func-python", FUNC_PYTHON)
    peer = [str(python), str(PEERS / "asgi_function.py"), "http"]
    ours: list[float] = []
    theirs: list[float] = []
    marks: list[list[float]] = []
    async with contextlib.AsyncExitStack() as stack:
        client = HttpClient(await from_kubeconfig(state / "kubeconfig"))
        stack.push_async_callback(client.close)
        story = await stack.enter_async_context(watched(client))
        names = await siblings(client)
        await asyncio.to_thread(first_answer, peer)
        for name in names:
            await story.until_asleep(name)
            began = time.perf_counter()
            took = await asyncio.to_thread(ask, port, f"{name}.default.localhost")
            ours.append(took)
            theirs.append(await asyncio.to_thread(first_answer, peer))
            marks.append([*story.marks(name, began), took])
    return statistics.median(ours), statistics.median(theirs), between(marks)


async def siblings(client: Client) -> list[str]:
    """Services of the one deployed image, one for each round."""
    made = await client.get(serving.SERVICE, "cold", "default")
    names = [f"cold-{number}" for number in range(ROUNDS)]
    for name in names:
        metadata = {"name": name, "namespace": "default"}
        await client.create(
            serving.SERVICE,
            {"apiVersion": made["apiVersion"], "kind": "Service", "metadata": metadata, "spec": meta.spec(made)},
        )
    return names


def ask(port: int, host: str) -> float:
    """Milliseconds from connect to the answer's first byte."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = sock.recv(65536)
        took = (time.perf_counter() - began) * 1000
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"{host}: {answer[:300]!r}")
    return took


def first_answer(command: list[str]) -> float:
    """Milliseconds from the spawn to the answer's first byte."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, "LISTEN_ADDRESS": f"127.0.0.1:{port}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and time.perf_counter() - began < PATIENCE:
            with contextlib.suppress(ConnectionError):
                ask(port, "localhost")
                return (time.perf_counter() - began) * 1000
            time.sleep(0.001)
        raise SystemExit(f"{' '.join(command)} does not answer")
    finally:
        process.kill()
        process.wait()


@dataclass(slots=True)
class Story:
    """What was seen of the function's resources, and when."""

    seen: list[tuple[float, str, Object]] = field(default_factory=list)
    told: asyncio.Condition = field(default_factory=asyncio.Condition)

    def marks(self, name: str, began: float) -> list[float]:
        """Milliseconds from `began` to the end of each stage but the last."""
        since = [(at, kind, obj) for at, kind, obj in self.seen if at >= began and self._is_of(name, obj)]
        return [
            min((at - began) * 1000 for at, kind, obj in since if kind == of and reached(obj))
            for of, reached in REACHED
        ]

    async def until_asleep(self, name: str) -> None:
        """Until its Deployment wants none and its last pod is gone."""
        async with self.told:
            await asyncio.wait_for(self.told.wait_for(lambda: self._is_asleep(name)), PATIENCE)

    def _is_asleep(self, name: str) -> bool:
        last = {kind: obj for _, kind, obj in self.seen if self._is_of(name, obj)}
        deployment, pod = last.get("Deployment"), last.get("Pod")
        return deployment is not None and not _is_scaled(deployment) and (pod is None or "deleted" in pod)

    def _is_of(self, name: str, obj: Object) -> bool:
        return meta.labels(obj).get("serving.knative.dev/service") == name


@contextlib.asynccontextmanager
async def watched(client: Client) -> AsyncIterator[Story]:
    story = Story()
    kinds = (core.DEPLOYMENT, core.POD, core.ENDPOINT_SLICE)
    tasks = [asyncio.create_task(_follow(client, kind, story)) for kind in kinds]
    try:
        yield story
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _follow(client: Client, kind: Kind, story: Story) -> None:
    async for event in client.watch(kind):
        obj = {**event.object, "deleted": True} if event.type == "DELETED" else event.object
        async with story.told:
            story.seen.append((time.perf_counter(), kind.kind, obj))
            story.told.notify_all()


def _is_scaled(obj: Object) -> bool:
    return bool(meta.spec(obj).get("replicas"))


def _is_ready(obj: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in meta.status(obj).get("conditions") or ())


def _is_routed(obj: Object) -> bool:
    return any((one.get("conditions") or {}).get("ready") for one in obj.get("endpoints") or ())


REACHED: tuple[tuple[str, Callable[[Object], bool]], ...] = (
    ("Deployment", _is_scaled),
    ("Pod", lambda pod: True),
    ("Pod", lambda pod: meta.status(pod).get("phase") == "Running"),
    ("Pod", _is_ready),
    ("EndpointSlice", _is_routed),
)


def between(marks: list[list[float]]) -> dict[str, float]:
    """The median milliseconds of each stage."""
    steps = [[later - earlier for earlier, later in zip([0.0, *row], row, strict=False)] for row in marks]
    return {name: statistics.median(column) for name, column in zip(STAGES, zip(*steps, strict=True), strict=True)}
