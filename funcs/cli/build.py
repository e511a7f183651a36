"""`funcs build`."""

from __future__ import annotations

from pathlib import Path

import click

from .wiring import Wiring, namespace_option, pass_wiring, path_argument, say


@click.command("build")
@path_argument
@namespace_option
@click.option("--image", default="", help="Where to push; the cluster's registry if not given.")
@click.option("--push/--no-push", default=True, show_default=True)
@pass_wiring
def command(wiring: Wiring, path: str, namespace: str, image: str, push: bool) -> None:
    """Build a function's image and print its name by digest."""
    from funcs.deploy.ship import build_and_push

    from .shipping import destination

    directory = Path(path).absolute()
    to = destination(wiring, directory, namespace, image)
    click.echo(wiring.run(lambda: build_and_push(directory, to, say, push=push)))
