"""A picture in, a thumbnail out: POST an image, get a JPEG no wider or higher than `?size=` pixels (128 by default)."""

from io import BytesIO

from PIL import Image, UnidentifiedImageError

from funcs import Context, Event, HTTPError, Response


def handle(ctx: Context, event: Event) -> Response:
    size = wanted_size(event.query.get("size", ["128"])[0])
    try:
        picture = Image.open(BytesIO(event.raw))
        picture.thumbnail((size, size))
    except UnidentifiedImageError:
        raise HTTPError(415, "the body is not an image that Pillow can read") from None
    made = BytesIO()
    picture.convert("RGB").save(made, "JPEG")
    ctx.logger.info("thumbnail made", width=picture.width, height=picture.height)
    return Response(made.getvalue(), headers={"content-type": "image/jpeg"})


def wanted_size(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 2048:
        raise HTTPError(400, f"size is {text!r}: give a number of pixels from 1 to 2048")
    return int(text)
