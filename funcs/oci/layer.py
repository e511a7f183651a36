"""Layers: deterministic tar archives, hashed in the one pass that writes them.

Law: the same entries give the same bytes anywhere: sorted names, one fixed time, owner 0:0 unless asked, modes reduced
to 0644/0755 unless asked, no user names. (gzip output also depends on the zlib in use; uncompressed layers do not.)
IO: reads the files named by entries, writes to the sink it is given.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from funcs.errors import Conflict, Invalid

from .model import OCI_LAYER, OCI_LAYER_GZIP, Descriptor

TIME = 315532801  # 1980-01-01T00:00:01Z
_CHUNK = 1024 * 1024
_RECORD = 512
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no time, unknown operating system

Compression = Literal["none", "gzip"]


class Sink(Protocol):
    """Where a layer's bytes go."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a layer. `path` is relative and normal; `content` is a file on disk or bytes, None for the rest.

    `link` makes it a symbolic link; `mode` is permission bits; a path without content and link is a directory.
    """

    path: str
    content: Path | bytes | None = None
    link: str = ""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path)
        if not self.path or parts.is_absolute() or ".." in parts.parts or str(parts) != self.path or "\0" in self.path:
            raise Invalid(f"not a path inside a layer: {self.path!r}")


@dataclass(frozen=True, slots=True)
class Layer:
    """A finished layer: its blob, and the digest of the tar inside."""

    descriptor: Descriptor
    diff_id: str


def file(path: str, content: Path | bytes, *, executable: bool = False) -> Entry:
    return Entry(path, content, mode=0o755 if executable else 0o644)


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, mode=mode)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, link=target, mode=0o777)


def write(entries: Iterable[Entry], sink: Sink, compression: Compression = "none") -> Layer:
    """Write the layer. Parents that are not named are added. Raises Conflict if a file changes while it is read."""
    stream = _Compressed(sink) if compression == "gzip" else _Plain(sink)
    for entry in _with_parents(entries):
        _write_entry(entry, stream)
    stream.write(bytes(2 * _RECORD))
    digest, size = stream.finish()
    media_type = OCI_LAYER_GZIP if compression == "gzip" else OCI_LAYER
    return Layer(Descriptor(media_type=media_type, digest=digest, size=size), stream.diff_id)


def tree(root: Path, under: str, *, skip: frozenset[str] = frozenset()) -> Iterator[Entry]:
    """Everything below `root` as entries below `under`; names in `skip` are left out wherever they are.

    Symbolic links are kept as links. Sockets, devices and pipes are refused.
    """
    with os.scandir(root) as found:
        listed = sorted(found, key=lambda entry: entry.name)
    for entry in listed:
        if entry.name in skip:
            continue
        path = f"{under}/{entry.name}" if under else entry.name
        if entry.is_symlink():
            yield symlink(path, os.readlink(entry.path))  # noqa: PTH115
        elif entry.is_dir():
            yield directory(path)
            yield from tree(Path(entry.path), path, skip=skip)
        elif entry.is_file():
            yield file(path, Path(entry.path), executable=bool(entry.stat().st_mode & stat.S_IXUSR))
        else:
            raise Invalid(f"{entry.path} is neither a file, a directory nor a symbolic link")


def _with_parents(entries: Iterable[Entry]) -> list[Entry]:
    named: dict[str, Entry] = {}
    for entry in entries:
        if entry.path in named and named[entry.path] != entry:
            raise Conflict(f"two different things at {entry.path} in one layer", reason="LayerConflict")
        named[entry.path] = entry
    for path in list(named):
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                named.setdefault(str(parent), directory(str(parent)))
    return [named[path] for path in sorted(named, key=lambda path: path.split("/"))]


def _write_entry(entry: Entry, stream: _Plain) -> None:
    header = tarfile.TarInfo(entry.path)
    header.mtime, header.uid, header.gid, header.mode = TIME, entry.uid, entry.gid, entry.mode
    if entry.link:
        header.type, header.linkname = tarfile.SYMTYPE, entry.link
    elif entry.content is None:
        header.type = tarfile.DIRTYPE
    if isinstance(entry.content, bytes):
        header.size = len(entry.content)
        stream.write(_bytes_of(header))
        stream.write(entry.content)
    elif entry.content is not None:
        _copy(header, entry.content, stream)
    else:
        stream.write(_bytes_of(header))
    stream.write(bytes(-header.size % _RECORD))


def _copy(header: tarfile.TarInfo, path: Path, stream: _Plain) -> None:
    with path.open("rb", buffering=0) as source:
        header.size = os.fstat(source.fileno()).st_size
        stream.write(_bytes_of(header))
        left = header.size
        while left and (chunk := source.read(min(left, _CHUNK))):
            stream.write(chunk)
            left -= len(chunk)
        if left or source.read(1):
            raise Conflict(f"{path} changed while it was read", reason="SourceChanged", hint="Build again.")


def _bytes_of(header: tarfile.TarInfo) -> bytes:
    return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class _Plain:
    """Hashes and forwards: the blob is the tar."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._tar = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._tar.update(data)
        self._size += len(data)
        self._sink.write(data)

    def finish(self) -> tuple[str, int]:
        return self.diff_id, self._size

    @property
    def diff_id(self) -> str:
        return "sha256:" + self._tar.hexdigest()


class _Compressed(_Plain):
    """Hashes the tar, compresses it, hashes what comes out."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._blob = hashlib.sha256()
        self._out = 0
        self._crc = 0
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._emit(_GZIP_HEADER)

    def write(self, data: bytes) -> None:
        self._tar.update(data)
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)
        self._emit(self._deflate.compress(data))

    def finish(self) -> tuple[str, int]:
        self._emit(self._deflate.flush())
        self._emit(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))
        return "sha256:" + self._blob.hexdigest(), self._out

    def _emit(self, data: bytes) -> None:
        self._blob.update(data)
        self._out += len(data)
        self._sink.write(data)
