"""`funcs status`."""

from __future__ import annotations

import click

from . import output as out
from .wiring import Wiring, output_option, pass_wiring


@click.command("status")
@output_option
@pass_wiring
def command(wiring: Wiring, output: str) -> None:
    """Show what runs and where it listens."""
    from funcs.platform import laptop

    status = laptop.status(wiring.places)
    ports = status.record.ports
    found = {
        "cluster": status.record.name,
        "up": status.up,
        "state": str(wiring.places.root),
        "kubeconfig": str(wiring.places.kubeconfig),
        "runtime": laptop.runtime(wiring.places),
        "api": f"https://127.0.0.1:{ports.api}",
        "gateway": f"http://127.0.0.1:{ports.gateway}",
        "broker": f"http://127.0.0.1:{ports.broker}",
        "registry": status.record.registry,
        "git": f"http://127.0.0.1:{ports.hub}/git",
        "supervisor": status.supervisor,
        "parts": status.parts,
        "ready": list(status.ready),
    }
    if output == "table":
        out.table(("WHAT", "VALUE"), [(name, _shown(value)) for name, value in found.items()])
    else:
        out.emit(found, output)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
