"""A broker for the benchmark: `python -m benchmarks.broker_process sqlite|redis SCRATCH FRONT-FD SUBSCRIBER-URL`."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from funcs.control.clock import SystemClock
from runtimes.eventing.delivery import Subscription
from runtimes.eventing.dispatcher import Dispatcher
from runtimes.eventing.ingress import Ingress
from runtimes.eventing.log import EventLog
from runtimes.eventing.retry import Policy
from runtimes.eventing.sqlite import SqliteLog
from runtimes.eventing.transport import Transport
from runtimes.http.client import Pool
from runtimes.http.server import serve

from .redis_log import redis_log

BROKER = "default/default"


async def log_of(kind: str, scratch: Path, stack: AsyncExitStack) -> EventLog:
    if kind == "redis":
        return await stack.enter_async_context(redis_log(scratch))
    log = await SqliteLog.open(scratch / "log.db")
    stack.push_async_callback(log.close)
    return log


async def main(kind: str, scratch: str, front: int, url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        log = await log_of(kind, Path(scratch), stack)
        pool = Pool()
        stack.push_async_callback(pool.close)
        transport = Transport(pool, lambda host, port: (host, port))
        dispatcher = await stack.enter_async_context(Dispatcher(log, transport, clock))
        policy = Policy(retries=10, backoff="exponential", delay=0.2)
        await dispatcher.program(
            Subscription(uid="t", namespace="default", name="t", broker=BROKER, subscriber=url, policy=policy)
        )
        server = await serve(Ingress(log, {BROKER}, clock), socket.socket(fileno=front))
        await stop.wait()
        await server.drain(5)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
