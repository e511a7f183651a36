"""Writes down what it is told: one line in its log for each measured picture."""

from funcs import Context, Event


def handle(ctx: Context, event: Event) -> None:
    measured = event.json()
    ctx.logger.info("%s is %d by %d", measured["name"], measured["width"], measured["height"])
