"""The gateway part: Serving's gateway on the cluster's gateway port.

Law: composition only. IO: its socket, the API, the autoscaler's socket.
"""

from __future__ import annotations

import random
import socket

from funcs.control.clock import SystemClock
from funcs.kube import HttpClient, from_kubeconfig
from runtimes.serving.gateway.process import main_gateway
from runtimes.serving.gateway.settings import GatewaySettings

from .duty import Duty
from .prepare import kubeconfig_of


async def run(duty: Duty) -> None:
    """Until told to stop."""
    client = HttpClient(await from_kubeconfig(kubeconfig_of(duty.places, "gateway")))
    metrics = duty.places.run / "gateway-metrics.sock"
    metrics.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as admin:
        admin.bind(str(metrics))
        try:
            await main_gateway(
                GatewaySettings(name=duty.record.node),
                client,
                duty.sockets["gateway"],
                str(duty.places.run / "autoscaler.sock"),
                SystemClock(),
                random=random.random,
                stop=duty.stop,
                ready=duty.ready,
                admin=admin,
            )
        finally:
            await client.close()
            metrics.unlink(missing_ok=True)
