"""Writes down what it is told: one line in its log for each measured picture."""

from typing import Any

from funcs import Context, Event


def handle(ctx: Context, event: Event) -> None:
    ctx.logger.info(entry(event.json()))


def entry(measured: dict[str, Any]) -> str:
    return f"{measured['name']} is {measured['width']} by {measured['height']}"
