"""`funcs up`."""

from __future__ import annotations

import click

from funcs.errors import Invalid
from funcs.platform.places import Isolation, Places, Ports

from .wiring import Wiring, pass_wiring, say

_PORT = click.IntRange(0, 65535)


@click.command("up")
@click.option("--api-port", type=_PORT, help="Kubernetes API.  [default: 7443]")
@click.option("--hub-port", type=_PORT, help="Registry, git and listeners.  [default: 7500]")
@click.option("--gateway-port", type=_PORT, help="Functions.  [default: 8080]")
@click.option("--broker-port", type=_PORT, help="Events.  [default: 7480]")
@click.option("--any-port", is_flag=True, help="Take any free ports. Ports are chosen at the first start, and kept.")
@click.option("--isolation", type=click.Choice(["auto", "crun", "process"]), default="auto", show_default=True)
@pass_wiring
def command(wiring: Wiring, /, any_port: bool, isolation: Isolation, **ports: int | None) -> None:
    """Start the embedded platform and wait until it is ready."""
    from funcs.platform import laptop
    from funcs.platform.places import cache_root

    asked = {name.removesuffix("_port"): port for name, port in ports.items() if port is not None}
    _check_kept(wiring.places, asked)
    free = dict.fromkeys(Ports.__struct_fields__, 0) if any_port else {}
    record = laptop.up(wiring.places, Ports(**free | asked), cache_root(wiring.environ), isolation=isolation)
    say(f'The cluster "{record.name}" is up. Pods are run by: {laptop.runtime(wiring.places)}')
    say(f"  functions  http://<name>.<namespace>.localhost:{record.ports.gateway}")
    say(f"  broker     http://localhost:{record.ports.broker}/default/default")
    say(f"  kubectl    --kubeconfig={wiring.places.kubeconfig}")


def _check_kept(places: Places, asked: dict[str, int]) -> None:
    """A port that is not the cluster's own would be asked for in vain: URLs and image names hold it."""
    if not places.record.exists():
        return
    record = places.read_record()
    for listener, port in asked.items():
        kept = getattr(record.ports, listener)
        if port not in (0, kept):
            raise Invalid(
                f'the cluster "{record.name}" keeps port {kept} for the {listener}, chosen at its first start',
                hint=f"Leave --{listener}-port out, or start another cluster with `funcs --cluster NAME up`.",
            )
