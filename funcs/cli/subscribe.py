"""`funcs subscribe`."""

from __future__ import annotations

from pathlib import Path

import click

from funcs.errors import Invalid

from .wiring import path_argument, say


@click.command("subscribe")
@path_argument
@click.option("-f", "--filter", "filters", multiple=True, metavar="ATTRIBUTE=VALUE", help="May be given several times.")
@click.option("-s", "--source", default="default", show_default=True, help="The Broker.")
def command(path: str, filters: tuple[str, ...], source: str) -> None:
    """Have a Broker's events sent to a function; it takes effect with the next deploy."""
    import msgspec

    from funcs.api.function import Subscription
    from funcs.project import funcfile

    directory = Path(path).absolute()
    wanted = Subscription(source=source, filters=dict(_pair(text) for text in filters) or None)
    present = funcfile.read(directory).function.subscriptions
    if wanted in present:
        say("It is subscribed already.")
        return
    funcfile.update(directory, {"deploy.subscriptions": msgspec.to_builtins([*present, wanted])})
    say(f"Subscribed to {source}. It takes effect with the next `funcs deploy`.")


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Invalid(f"--filter {text!r} is not ATTRIBUTE=VALUE", hint="Write it as in --filter type=order.placed.")
    return name, value
