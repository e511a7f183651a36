"""Told that a picture was uploaded, says how big it is: the reply goes back to the broker as an event of its own."""

from base64 import b64decode
from io import BytesIO

from PIL import Image

from funcs import Context, Event


def handle(ctx: Context, event: Event) -> Event:
    upload = event.json()
    picture = Image.open(BytesIO(b64decode(upload["jpeg"])))
    return Event(
        type="image.measured",
        source="/functions/measure",
        data={"name": upload["name"], "width": picture.width, "height": picture.height},
    )
