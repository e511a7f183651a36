"""`funcs list`."""

from __future__ import annotations

import click

from . import output as out
from .wiring import Wiring, namespace_option, output_option, pass_wiring


@click.command("list")
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True)
@output_option
@pass_wiring
def command(wiring: Wiring, namespace: str, all_namespaces: bool, output: str) -> None:
    """List functions."""
    from funcs.deploy.functions import summaries

    async def work() -> list[dict[str, object]]:
        async with wiring.client() as client:
            return await summaries(client, None if all_namespaces else namespace or "default")

    found = wiring.run(work)
    if output != "table":
        out.emit(out.document("FunctionList", found), output)
        return
    heads = ("NAME", "NAMESPACE", "RUNTIME", "URL", "READY", "REPLICAS")
    out.table(heads, [[item[head.lower()] for head in heads] for item in found])
