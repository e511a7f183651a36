"""Makes native.json, the shapes of Kubernetes' own kinds, from the models of the official Python client.

Law: run by hand when the client's release changes: `python -m runtimes.cluster.api.native_source`; nothing imports
it. IO: writes native.json beside itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from kubernetes.client import models

from .native import FILE, ROOTS

_MODEL = re.compile(r"\b(?:V\d\w*|[A-Z]\w*V\d\w*)\b")


def main() -> None:
    shapes: dict[str, dict[str, str]] = {}
    pending = sorted(ROOTS.values())
    while pending:
        name = pending.pop()
        if name not in shapes:
            shapes[name] = _shape(getattr(models, name))
            pending.extend(found for text in shapes[name].values() for found in _MODEL.findall(text))
    Path(__file__).with_name(FILE).write_bytes(msgspec.json.encode(shapes, order="sorted"))


def _shape(model: Any) -> dict[str, str]:
    """JSON name → type; a required field's name ends with `!`."""
    required = {name for name, field in getattr(model, "model_fields", {}).items() if field.is_required()}
    return {
        json_name + ("!" if attribute in required else ""): model.openapi_types[attribute]
        for attribute, json_name in model.attribute_map.items()
    }


if __name__ == "__main__":
    main()
