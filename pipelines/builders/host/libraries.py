"""The shared libraries that programs of this machine need, and where an image keeps them.

Law: a library in a directory that the dynamic loader searches anyway keeps its place; one in a private prefix (a
Python built with a shared libpython) moves beside libc, where it is found without any setting. IO: runs `ldd`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import Unavailable, Unsupported
from funcs.oci import layer
from funcs.oci.layer import Entry

_FOUND = re.compile(r"^\s+(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_MISSING = re.compile(r"^\s+(\S+) => not found$", re.MULTILINE)
_SEARCHED = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/")
_SECONDS = 60
# What a wheel may take for granted (PEP 513, 571, 599, 600), without the graphical libraries.
_PROMISED = (
    "libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1", "libresolv.so.2",
    "libnss_files.so.2", "libnss_dns.so.2", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "libexpat.so.1",
    "libcrypt.so.1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Libraries:
    """`places` maps the name by which a library is asked for to its file; `missing` programs lack one."""

    places: dict[str, Path]
    missing: frozenset[Path]


def needed_by(programs: Iterable[Path]) -> Libraries:
    """The closure. Raises Unsupported where there is no `ldd`."""
    wanted = [path for path in programs if _is_elf(path)]
    places: dict[str, Path] = {}
    missing: set[Path] = set()
    for path, report in _reports(wanted):
        if _MISSING.search(report):
            missing.add(path)
            continue
        for soname, place in _FOUND.findall(report):
            places.setdefault(soname if soname and "/" not in soname else place, Path(place))
    return Libraries(places, frozenset(missing))


def promised_to_wheels(programs: Libraries) -> list[Path]:
    """The libraries beside libc that manylinux wheels expect of every system, as far as this one has them."""
    beside = Path(_directory_of_libc(programs))
    places = [beside, Path("/usr") / beside.relative_to("/")] if beside.parts[1] != "usr" else [beside]
    return [path for name in _PROMISED if (path := _first(places, name)) is not None]


def with_files(libraries: Libraries, files: Iterable[Path]) -> Libraries:
    """The closure and these themselves."""
    return Libraries(libraries.places | {path.name: path for path in files}, libraries.missing)


def entries(libraries: Libraries) -> Iterator[Entry]:
    """Files at the places where the loader looks for them."""
    beside_libc = _directory_of_libc(libraries)
    for name, place in sorted(libraries.places.items()):
        listed = str(place) if str(place).startswith(_SEARCHED) else f"{beside_libc}/{Path(name).name}"
        yield layer.file(in_image(listed), place, executable=True)


def in_image(path: str) -> str:
    """An absolute path of this machine as a layer's: with merged /usr where this machine has it so."""
    first = path.lstrip("/").partition("/")[0]
    merged = Path(f"/{first}").is_symlink() and first in {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}
    return ("usr" + path) if merged else path.lstrip("/")


def merged_links() -> Iterator[Entry]:
    """`/bin` → `usr/bin` and so on, as on this machine."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path(f"/{name}").is_symlink():
            yield layer.symlink(name, f"usr/{name}")
            yield layer.directory(f"usr/{name}")


def _reports(programs: list[Path]) -> Iterator[tuple[Path, str]]:
    """What `ldd` says of each; it prints a heading per program if it is given several."""
    if not programs:
        return
    command = ["ldd", *map(str, programs)]
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS, env=environment)
    except FileNotFoundError as error:
        raise Unsupported("there is no ldd here, so no base image can be made of this machine") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"ldd gave no answer in {_SECONDS} seconds") from error
    text = os.fsdecode(done.stdout)
    if len(programs) == 1:
        yield programs[0], text
        return
    for section in re.split(r"^(?=/)", text, flags=re.MULTILINE)[1:]:
        heading, _, report = section.partition("\n")
        yield Path(heading.rstrip(":")), report


def _first(places: list[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).is_file()), None)


def _directory_of_libc(libraries: Libraries) -> str:
    for name, place in libraries.places.items():
        if name.startswith(("libc.so", "libc.musl", "ld-musl")):
            return str(place.parent)
    raise Unsupported("the interpreter uses no C library that can be found with ldd")


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
