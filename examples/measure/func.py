"""Told that a picture was uploaded, says how big it is: the reply goes back to the broker as an event of its own."""

from base64 import b64decode
from io import BytesIO
from typing import Any

from PIL import Image

from funcs import Context, Event


def handle(ctx: Context, event: Event) -> Event:
    return Event(type="image.measured", source="/functions/measure", data=measured(event.json()))


def measured(upload: dict[str, Any]) -> dict[str, Any]:
    picture = Image.open(BytesIO(b64decode(upload["jpeg"])))
    return {"name": upload["name"], "width": picture.width, "height": picture.height}
