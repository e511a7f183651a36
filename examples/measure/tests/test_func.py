from base64 import b64encode
from io import BytesIO

from func import measured
from PIL import Image


def test_a_picture_is_measured() -> None:
    picture = BytesIO()
    Image.new("RGB", (30, 20)).save(picture, "JPEG")
    upload = {"name": "p.jpg", "jpeg": b64encode(picture.getvalue()).decode()}
    assert measured(upload) == {"name": "p.jpg", "width": 30, "height": 20}
