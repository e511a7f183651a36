"""Makes native.json, the shapes of Kubernetes' own kinds, from the descriptors that a kubectl binary carries.

Law: run by hand when the emulated release changes: `python -m runtimes.cluster.api.native_source <kubectl>`; nothing
imports it. IO: reads that binary, writes native.json beside itself.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from .native import FILE, ROOTS
from .protobuf import fields

_GZIP = re.compile(rb"\x1f\x8b\x08\x00\x00\x00\x00\x00")
_PACKAGES = ("k8s.io.api.", "k8s.io.apimachinery.pkg.apis.", "k8s.io.apimachinery.pkg.api.",
             "k8s.io.apimachinery.pkg.util.", "k8s.io.apimachinery.pkg.")  # fmt: skip
_TYPES = {1: "double", 3: "int64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}
_MESSAGE, _REPEATED = 11, 3


def main(kubectl: Path) -> None:
    every = dict(_messages(kubectl.read_bytes()))
    kept: dict[str, dict[str, list[object]]] = {}
    pending = list(ROOTS.values())
    while pending:
        name = pending.pop()
        if name in kept:
            continue
        kept[name] = every[name]
        types = [str(field[1]).removeprefix("map:") for field in every[name].values()]
        pending.extend(found for found in types if "." in found)
    Path(__file__).with_name(FILE).write_bytes(msgspec.json.encode(kept, order="sorted") + b"\n")


def _messages(binary: bytes) -> Iterator[tuple[str, dict[str, list[object]]]]:
    for found in _GZIP.finditer(binary):
        try:
            descriptor = zlib.decompressobj(31).decompress(binary[found.start() : found.start() + (1 << 20)])
            file = list(fields(descriptor))
        except (zlib.error, ValueError):
            continue  # other things in the binary are compressed too
        package = next((value.decode() for number, value in file if number == 2 and isinstance(value, bytes)), "")
        if package.startswith("k8s.io."):
            for number, value in file:
                if number == 4 and isinstance(value, bytes):
                    yield _message(package, value)


def _message(package: str, descriptor: bytes) -> tuple[str, dict[str, list[object]]]:
    """Short name, and of every field: [number, type] or [number, type, 1] for a repeated one."""
    parts = [(number, value) for number, value in fields(descriptor) if isinstance(value, bytes)]
    name = next(value.decode() for number, value in parts if number == 1)
    entries = dict(_entry(value) for number, value in parts if number == 3)
    made: dict[str, list[object]] = {}
    for number, value in parts:
        if number == 2:
            field = dict(fields(value))
            found = _type(field)
            mapped = entries.get(found.rpartition(".")[2])
            many = field.get(4) == _REPEATED and mapped is None
            made[_text(field[1])] = [field[3], f"map:{mapped}" if mapped else found, *([1] if many else [])]
    return f"{_short(package + '.')}{name}", made


def _entry(descriptor: bytes) -> tuple[str, str]:
    """A map's entry: its name and the type of its values."""
    parts = [(number, value) for number, value in fields(descriptor) if isinstance(value, bytes)]
    name = next(value.decode() for number, value in parts if number == 1)
    value_type = next(_type(field) for field in (dict(fields(v)) for n, v in parts if n == 2) if field[3] == 2)
    return name, value_type


def _type(field: dict[int, int | bytes]) -> str:
    if field[5] == _MESSAGE:
        return _short(_text(field[6]).removeprefix("."))
    return _TYPES[int(field[5])]


def _short(name: str) -> str:
    return next((name.removeprefix(package) for package in _PACKAGES if name.startswith(package)), name)


def _text(value: int | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("a number stands where a text must")
    return value.decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
