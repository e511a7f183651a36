"""`funcs logs`."""

from __future__ import annotations

import sys

import click

from .wiring import Wiring, namespace_option, pass_wiring


@click.command("logs")
@click.argument("name", default="")
@namespace_option
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, from pods that start later too.")
@click.option("--tail", type=click.IntRange(min=0), default=None, metavar="LINES")
@pass_wiring
def command(wiring: Wiring, name: str, namespace: str, follow: bool, tail: int | None) -> None:
    """Print a function's log, of all its pods."""
    from funcs.deploy.logs import stream

    from .choosing import chosen

    async def work() -> None:
        async with wiring.client() as client:
            async for chunk in stream(client, *chosen(name, namespace), follow=follow, tail=tail):
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()

    wiring.run(work)
