"""The broker part: Eventing's data plane and the controllers that program it.

Law: composition only. IO: its socket, the API, the event log.
"""

from __future__ import annotations

import random

from funcs.control.clock import SystemClock
from funcs.kube import HttpClient, from_kubeconfig
from runtimes.eventing.broker import Broker, BrokerSettings
from runtimes.eventing.dispatcher import DispatcherSettings

from .dialing import Dialing
from .duty import Duty
from .prepare import kubeconfig_of


async def run(duty: Duty) -> None:
    """Until told to stop."""
    client = HttpClient(await from_kubeconfig(kubeconfig_of(duty.places, "broker")))
    ports = duty.record.ports
    settings = BrokerSettings(
        log=duty.places.broker / "log.db",
        dispatcher=DispatcherSettings(broker_url=f"http://localhost:{ports.broker}"),
    )
    try:
        broker = Broker(settings, client, SystemClock(), Dialing(gateway=ports.gateway), random.random)
        await broker.run(duty.sockets["broker"], duty.stop, duty.ready)
    finally:
        await client.close()
