"""`funcs delete`."""

from __future__ import annotations

import click

from .wiring import Wiring, namespace_option, pass_wiring, say


@click.command("delete")
@click.argument("name", default="")
@namespace_option
@pass_wiring
def command(wiring: Wiring, name: str, namespace: str) -> None:
    """Delete a function: the one named, or the one in this directory. Its source stays."""
    from funcs.deploy.apply import remove

    from .choosing import chosen

    async def work() -> list[str]:
        async with wiring.client() as client:
            return await remove(client, *chosen(name, namespace))

    for removed in wiring.run(work):
        say(f"deleted {removed}")
