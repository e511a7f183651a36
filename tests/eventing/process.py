"""A broker process for tests: `python -m tests.eventing.process LOG LISTENER-FD SUBSCRIBER-URL`.

Its cluster is in memory: one Broker, one Trigger. It ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

from funcs.api.eventing import RULES
from funcs.control.clock import SystemClock
from funcs.control.memory import MemoryClient
from runtimes.eventing.broker import Broker, BrokerSettings

_META = {"name": "default", "namespace": "default", "uid": "fixed"}


def objects(subscriber: str) -> list[dict[str, object]]:
    api = "eventing.knative.dev/v1"
    delivery = {"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}
    annotations = {"eventing.knative.dev/broker.class": "MTChannelBasedBroker"}
    labels = {"eventing.knative.dev/broker": "default"}
    spec = {"broker": "default", "subscriber": {"uri": subscriber}, "delivery": delivery}
    return [
        {"apiVersion": api, "kind": "Broker", "metadata": {**_META, "annotations": annotations}, "spec": {}},
        {"apiVersion": api, "kind": "Trigger", "metadata": {**_META, "labels": labels}, "spec": spec},
    ]


async def main(log: str, listener: int, subscriber: str) -> None:
    client = MemoryClient(rules=RULES, clock=SystemClock())
    client.seed(*objects(subscriber))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = BrokerSettings(log=Path(log))
    broker = Broker(settings, client, SystemClock(), lambda host, port: (host, port), lambda: 0.5)
    await broker.run(socket.socket(fileno=listener), stop)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
