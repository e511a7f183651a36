"""`funcs git-credential`: git's credential helper protocol for the embedded git server.

Law: answers only for our own host and port, and only to `get`; what git asks to store or erase is not ours to keep.
"""

from __future__ import annotations

import sys

import click

from .wiring import Wiring, pass_wiring


@click.command("git-credential")
@click.argument("operation")
@pass_wiring
def command(wiring: Wiring, operation: str) -> None:
    """Answer `get` for the embedded git server (gitcredentials(7))."""
    from funcs.platform import credentials

    asked = dict(line.split("=", 1) for line in sys.stdin.read().splitlines() if "=" in line)
    host = f"127.0.0.1:{wiring.record.ports.hub}"
    if operation == "get" and asked.get("host") == host:
        click.echo(f"username=funcs\npassword={credentials.ensure(wiring.places).admin}")
