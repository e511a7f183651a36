"""`funcs describe`."""

from __future__ import annotations

from typing import Any

import click

from . import output as out
from .wiring import Wiring, namespace_option, output_option, pass_wiring


@click.command("describe")
@click.argument("name", default="")
@namespace_option
@output_option
@pass_wiring
def command(wiring: Wiring, name: str, namespace: str, output: str) -> None:
    """Show one function: the one named, or the one in this directory."""
    from funcs.deploy.functions import description

    from .choosing import chosen

    async def work() -> dict[str, Any]:
        async with wiring.client() as client:
            return await description(client, *chosen(name, namespace))

    found = wiring.run(work)
    if output != "table":
        out.emit(found, output)
        return
    for field in ("name", "namespace", "url", "image", "revision", "ready", "reason", "replicas"):
        click.echo(f"{field.capitalize() + ':':<12} {found[field]}")
    click.echo("Traffic:")
    for target in found["traffic"]:
        click.echo(
            f"  {target.get('percent', 0):>3} %  {target.get('revisionName', '')}  {target.get('tag', '')}".rstrip()
        )
    for subscription in found["subscriptions"]:
        filters = ", ".join(f"{key}={value}" for key, value in subscription["filters"].items()) or "everything"
        click.echo(f"Subscribed:  {filters} from {subscription['broker']} (ready: {subscription['ready']})")
