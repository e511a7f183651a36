"""`funcs create`."""

from __future__ import annotations

from pathlib import Path

import click

from funcs.api.meta import timestamp
from funcs.control.clock import SystemClock

from .wiring import say


@click.command("create")
@click.argument("path", type=click.Path(file_okay=False))
@click.option("-l", "--language", default="python", show_default=True)
@click.option("-t", "--template", default="http", show_default=True, help="http or cloudevents.")
def command(path: str, language: str, template: str) -> None:
    """Create a function in a new directory; its name is the directory's."""
    from funcs.project import template as templates

    target = Path(path).absolute()
    # func's own spelling of the event template, which its func.yaml writes in the singular
    wanted = "cloudevents" if template == "cloudevent" else template
    asked = templates.NewFunction(
        name=target.name, created=timestamp(SystemClock().now()), language=language, template=wanted
    )
    templates.create(target, asked, templates.builtin_templates())
    say(f"Created {language} function {target.name} in {target}")
    say(f"  next: funcs deploy {path}")
