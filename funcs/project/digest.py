"""The digest of a function's source: of content and modes, never of places and times.

Law: equal trees have equal digests on any machine; a file's content is read again unless size, times, inode and mode
are those of a reading that was safely later than the file's last change. IO: reads files, keeps a stat cache.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from .files import SourceFile

_SETTLED = 2_000_000_000  # nanoseconds: the coarsest clock of a file system in use (FAT) ticks every two seconds
_CHUNK = 1024 * 1024


class _Seen(msgspec.Struct, array_like=True):
    size: int
    mtime: int
    ctime: int
    inode: int
    digest: str


_SeenFiles = dict[str, _Seen]


def source_digest(files: Iterable[SourceFile], cache: Path | None = None, *, now_ns: int = 0) -> str:
    """sha256 in hex over every path, kind, executable bit and content, in the order given.

    `cache` is a file that may be lost; `now_ns` (Unix time) decides what is settled enough to be remembered.
    """
    seen = _read(cache)
    kept: _SeenFiles = {}
    total = hashlib.sha256()
    for file in files:
        if file.link:
            kind, content = "l", hashlib.sha256(os.fsencode(file.link)).hexdigest()
        else:
            kind, content = ("x" if file.executable else "f"), _content(file, seen, kept)
        path = os.fsencode(file.path)
        total.update(b"%s %d " % (kind.encode(), len(path)) + path + content.encode())
    settled = {path: entry for path, entry in kept.items() if max(entry.mtime, entry.ctime) < now_ns - _SETTLED}
    if cache is not None and settled != seen:
        _write(cache, settled)
    return total.hexdigest()


def _content(file: SourceFile, seen: _SeenFiles, kept: _SeenFiles) -> str:
    found = file.stat
    stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    entry = seen.get(file.path)
    if entry is None or (entry.size, entry.mtime, entry.ctime, entry.inode) != stamp:
        entry = _Seen(*stamp, _digest(file.place))
    kept[file.path] = entry
    return entry.digest


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _read(cache: Path | None) -> _SeenFiles:
    try:
        return msgspec.json.decode(cache.read_bytes(), type=_SeenFiles) if cache is not None else {}
    except (OSError, msgspec.MsgspecError, ValueError):
        return {}  # a cache: whatever is wrong with it, reading the files again is right


def _write(cache: Path, seen: _SeenFiles) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=cache.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(seen))
    Path(name).replace(cache)
