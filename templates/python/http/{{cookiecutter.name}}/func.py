"""An HTTP function: `handle` is called for every request; what it returns is the answer."""

from typing import Any

from funcs import Context, Event


async def handle(ctx: Context, event: Event) -> dict[str, Any]:
    """`event.data` is the request's decoded body. A dict is answered as JSON, a str as text, None as 204."""
    return greeting(event.data)


def greeting(data: Any) -> dict[str, Any]:
    name = data.get("name") if isinstance(data, dict) else None
    return {"message": f"Hello, {name or 'world'}!"}
