"""`funcs down`."""

from __future__ import annotations

import click

from .wiring import Wiring, pass_wiring, say


@click.command("down")
@click.option("--purge", is_flag=True, help="Remove the cluster's state too: resources, images, events, repositories.")
@pass_wiring
def command(wiring: Wiring, purge: bool) -> None:
    """Stop the embedded platform and every pod of it."""
    from funcs.platform import laptop

    ran = laptop.down(wiring.places, purge=purge)
    say("The cluster is down." if ran else "The cluster was not up.")
