"""What commands are wired with: the cluster they talk to, and how they print.

Law: the environment is read here and nowhere below; a command asks for what it needs and gets it built.
IO: opens clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import click

from funcs.control.client import Client
from funcs.errors import Unavailable
from funcs.platform.places import Places, Record, state_root

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wiring:
    """One invocation of `funcs`: which cluster, in which environment."""

    cluster: str
    environ: dict[str, str]

    @property
    def places(self) -> Places:
        return Places(state_root(self.environ, self.cluster))

    @property
    def record(self) -> Record:
        """Raises NotFound, saying how to start the cluster, when there is none."""
        return self.places.read_record()

    def gateway(self) -> tuple[str, int]:
        return ("127.0.0.1", self.record.ports.gateway)

    def require_up(self) -> None:
        """Raises NotFound when there is no cluster, Unavailable when nothing of it runs."""
        from funcs.platform import supervisor

        record, state = self.record, supervisor.read_state(self.places)
        # a supervisor may be dead while its parts serve
        if state is None or not any(pid.alive for pid in (state.supervisor, *state.parts.values())):
            raise Unavailable(f'the cluster "{record.name}" is not up', hint="Run `funcs up`.")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A Client of the embedded cluster. Raises NotFound, Unavailable."""
        from funcs.kube import HttpClient, from_kubeconfig

        self.require_up()
        client = HttpClient(await from_kubeconfig(self.places.kubeconfig))
        try:
            yield client
        finally:
            await client.close()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a command's asynchronous body."""

        async def body() -> T:
            return await work()

        return asyncio.run(body())


pass_wiring = click.make_pass_decorator(Wiring)


def _namespace(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from funcs.api.names import is_dns_label

    if value and not is_dns_label(value):
        raise click.BadParameter(f"{value!r} is not a namespace's name: lower-case letters, digits and '-'.")
    return value


namespace_option = click.option(
    "-n",
    "--namespace",
    default="",
    callback=_namespace,
    help="The namespace; the function's own, or `default`, if not given.",
)
output_option = click.option(
    "-o", "--output", "output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)
path_argument = click.argument("path", default=".", type=click.Path(file_okay=False))


def say(text: str) -> None:
    """Progress goes to standard error; results alone go to standard output."""
    click.echo(text, err=True)
