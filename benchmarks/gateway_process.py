"""Our gateway, as shipped, before one backend: for benchmarks/gateway.py.

Run with the port to listen on and the backend's port. It is `main_gateway` itself over a Client in memory that holds
one Route, its Revision and its EndpointSlice; limits, metrics and statistics are on.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys

from funcs.api.meta import Object
from funcs.control.clock import SystemClock
from funcs.control.memory import MemoryClient
from runtimes.http.loop import new_event_loop
from runtimes.serving.gateway.process import main_gateway
from runtimes.serving.gateway.settings import GatewaySettings

HOST = "hello.default.localhost"


def world(port: int) -> tuple[Object, ...]:
    """What the gateway watches, for a revision whose one pod listens on 127.0.0.1:`port`."""
    labels = {"kubernetes.io/service-name": "hello-00001-private", "serving.knative.dev/revision": "hello-00001"}
    return (
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Route",
            "metadata": {"name": "hello", "namespace": "default"},
            "status": {"traffic": [{"revisionName": "hello-00001", "percent": 100}]},
        },
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Revision",
            "metadata": {"name": "hello-00001", "namespace": "default"},
            "spec": {"containers": [{"image": "hello"}], "timeoutSeconds": 300},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "hello-00001-private-1", "namespace": "default", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": port}],
        },
    )


async def main(port: int, backend: int) -> None:
    client = MemoryClient(clock=SystemClock())
    client.seed(*world(backend))
    sock = socket.create_server(("127.0.0.1", port), backlog=4096)
    stats = f"/tmp/funcs-bench-{port}.sock"  # nobody listens there: reports are dropped, as when control restarts
    await main_gateway(
        GatewaySettings(), client, sock, stats, SystemClock(), random=random.random, stop=asyncio.Event()
    )


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2])))
