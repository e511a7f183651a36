"""`funcs up`."""

from __future__ import annotations

import click

from funcs.platform.places import Isolation

from .wiring import Wiring, pass_wiring, say


@click.command("up")
@click.option("--api-port", type=int, default=7443, show_default=True, help="Kubernetes API.")
@click.option("--hub-port", type=int, default=7500, show_default=True, help="Registry, git and listeners.")
@click.option("--gateway-port", type=int, default=8080, show_default=True, help="Functions.")
@click.option("--broker-port", type=int, default=7480, show_default=True, help="Events.")
@click.option(
    "--any-port", is_flag=True, help="Take any free ports. Like the others, it counts at the first start only."
)
@click.option("--isolation", type=click.Choice(["auto", "crun", "process"]), default="auto", show_default=True)
@pass_wiring
def command(wiring: Wiring, /, any_port: bool, isolation: Isolation, **ports: int) -> None:
    """Start the embedded platform and wait until it is ready."""
    from funcs.platform import laptop
    from funcs.platform.places import Ports, cache_root

    chosen = {name.removesuffix("_port"): 0 if any_port else port for name, port in ports.items()}
    record = laptop.up(wiring.places, Ports(**chosen), cache_root(wiring.environ), isolation=isolation)
    say(f'The cluster "{record.name}" is up. Pods are run by: {laptop.runtime(wiring.places)}')
    say(f"  functions  http://<name>.<namespace>.localhost:{record.ports.gateway}")
    say(f"  broker     http://localhost:{record.ports.broker}/default/default")
    say(f"  kubectl    --kubeconfig={wiring.places.kubeconfig}")
