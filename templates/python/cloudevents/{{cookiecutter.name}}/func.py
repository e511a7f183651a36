"""A CloudEvents function: `handle` is called for every event; what it returns is the reply event's data."""

from typing import Any

from funcs import Context, Event


async def handle(ctx: Context, event: Event) -> dict[str, Any]:
    """The attributes of the event are its fields (`event.type`, `event.source`, …); None replies nothing."""
    ctx.logger.info("received %s from %s", event.type, event.source)
    return reply(event.data)


def reply(data: Any) -> dict[str, Any]:
    return {"received": data}
