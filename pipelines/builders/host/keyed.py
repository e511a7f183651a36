"""Layers known by what they are made of, so that making them once is enough.

Law: a key says all that a layer depends on; a remembered layer counts only while its blob is in the layout. The
memory may be lost at any time. IO: small files in the cache directory, blobs in the layout.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from funcs.oci import layer
from funcs.oci.layer import Entry, Layer
from funcs.oci.layout import Layout

from ..port import BuiltLayer

FORMAT = "host-2"  # of what this builder makes: part of every key


class KeyedLayers:
    """`known` are layers that need not be here, because where the image goes has them."""

    def __init__(self, layout: Layout, directory: Path, known: Mapping[str, Layer]) -> None:
        self._layout = layout
        self._directory = directory
        self._known = known

    def get(self, name: str, key: str, entries: Callable[[], Iterable[Entry]]) -> BuiltLayer:
        """The layer of this key; `entries` is called only if it must be made."""
        remembered = self.find(key)
        if remembered is not None:
            return BuiltLayer(name, remembered, cached=True)
        with self._layout.ingest() as blob:
            made = layer.write(entries(), blob)
            blob.commit(made.descriptor.digest)
        self._remember(key, made)
        return BuiltLayer(name, made, cached=False)

    def find(self, key: str) -> Layer | None:
        try:
            found = msgspec.json.decode((self._directory / key).read_bytes(), type=Layer)
        except (OSError, msgspec.MsgspecError, ValueError):
            return self._known.get(key)
        return found if self._layout.renew(found.descriptor.digest) else self._known.get(key)

    def _remember(self, key: str, made: Layer) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(made))
        Path(name).replace(self._directory / key)


def key_of(*parts: str | bytes) -> str:
    """A key of everything that matters, in order."""
    total = hashlib.sha256()
    for part in (FORMAT, *parts):
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        total.update(b"%d:" % len(data) + data)
    return total.hexdigest()
