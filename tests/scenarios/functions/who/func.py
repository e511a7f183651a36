"""Says which of its processes answers, and repeats what it was told."""

import os
from typing import Any
from uuid import uuid4

from funcs import Context, Event

WHO = uuid4().hex


async def handle(ctx: Context, event: Event) -> dict[str, Any]:
    ctx.logger.info("told %s", event.data)
    return {"who": WHO, "told": event.data, "greeting": os.environ.get("GREETING", "")}
