"""A layer's tar archive becomes files in a directory. Archives are hostile until proven otherwise.

Law: nothing outside the directory is read, written or followed, whatever the archive says: every name is resolved
component by component below the directory, and a symlink on the way is refused. Device nodes are refused. Modes are
kept; owners too where we may set them. IO: the archive and the directory.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
from enum import Enum
from pathlib import Path
from typing import IO, cast

from funcs.errors import Invalid, Unsupported
from funcs.oci import model

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MOST_ENTRIES = 1_000_000
_MOST_BYTES = 64 << 30


class Whiteouts(Enum):
    """What a deletion in the layer becomes: overlayfs' own mark, or a deletion now."""

    OVERLAY = "overlay"
    APPLY = "apply"


def unpack(blob: Path, media_type: str, directory: Path, whiteouts: Whiteouts) -> None:
    """Raises Invalid for an archive that is broken or tries to escape, Unsupported for a compression we lack."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(blob.open("rb"))
        stream = stack.enter_context(_decompressed(file, media_type))
        try:
            archive = stack.enter_context(tarfile.open(fileobj=stream, mode="r|"))
            _Unpacker(directory, whiteouts).run(archive)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
            raise Invalid(f"layer {blob.name[:12]} is broken: {error}") from error


def _decompressed(file: IO[bytes], media_type: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if media_type.endswith("gzip"):
        return cast("contextlib.AbstractContextManager[IO[bytes]]", gzip.GzipFile(fileobj=file))
    if media_type == model.OCI_LAYER or media_type.endswith(".tar"):
        return contextlib.nullcontext(file)
    raise Unsupported(f"layers of type {media_type[:120]} are not supported", hint="Compress the layer with gzip.")


class _Unpacker:
    def __init__(self, directory: Path, whiteouts: Whiteouts) -> None:
        self._root = directory
        self._whiteouts = whiteouts
        self._owner = os.geteuid() == 0
        self._directories: list[tuple[Path, tarfile.TarInfo]] = []
        self._own: set[Path] = set()

    def run(self, archive: tarfile.TarFile) -> None:
        total = 0
        for count, entry in enumerate(archive):
            total += entry.size if entry.isreg() else 0
            if count > _MOST_ENTRIES or total > _MOST_BYTES:
                raise Invalid("layer is larger than anything we unpack")
            self._extract(archive, entry)
        for path, entry in reversed(self._directories):
            if path.is_dir() and not path.is_symlink():
                path.chmod(entry.mode & 0o7777)
                os.utime(path, (entry.mtime, entry.mtime))

    def _extract(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        path = self._place(entry.name)
        if path is None:
            return
        if path.name.startswith(_WHITEOUT):
            self._white_out(path)
            return
        self._own.add(path)
        if entry.isdir():
            self._make_directory(path, entry)
            return
        self._clear(path)
        if entry.isreg():
            self._write(archive, entry, path)
        elif entry.issym():
            path.symlink_to(entry.linkname)
            self._give(path, entry)
        elif entry.islnk():
            target = self._place(entry.linkname)
            if target is None or not target.is_file() or target.is_symlink():
                raise Invalid(f"layer links {entry.name!r} to {entry.linkname!r}, which it does not have")
            os.link(target, path)
        else:
            raise Invalid(f"layer has a device or pipe: {entry.name!r}")

    def _place(self, name: str) -> Path | None:
        """The path for a name; its parents are made. None for the root itself. Raises Invalid."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in name:
            raise Invalid(f"layer reaches outside itself: {name!r}")
        path = self._root
        for part in parts[:-1]:
            path = path / part
            if path.is_symlink():
                path = self._through(path, name)
            elif not path.is_dir():
                self._clear(path)
                path.mkdir(0o755)
        return path / parts[-1] if parts else None

    def _through(self, link: Path, name: str) -> Path:
        """A parent that is a symlink (`/lib` → `usr/lib`) is allowed if it leads to a directory of this tree."""
        target = os.readlink(link)  # noqa: PTH115
        inside = self._root / target.lstrip("/") if target.startswith("/") else link.parent / target
        resolved = inside.resolve()
        if not resolved.is_relative_to(self._root.resolve()) or not resolved.is_dir():
            raise Invalid(f"layer writes {name!r} through a symlink that leads outside")
        return resolved

    def _make_directory(self, path: Path, entry: tarfile.TarInfo) -> None:
        if path.is_symlink() or not path.is_dir():
            self._clear(path)
            path.mkdir(0o700)
        self._give(path, entry)
        path.chmod(0o700 | entry.mode & 0o7777)
        self._directories.append((path, entry))

    def _write(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
        source = archive.extractfile(entry)
        if source is None:
            raise Invalid(f"layer has no content for {entry.name!r}")
        with source, path.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        self._give(path, entry)
        path.chmod(entry.mode & 0o7777)
        os.utime(path, (entry.mtime, entry.mtime))

    def _give(self, path: Path, entry: tarfile.TarInfo) -> None:
        if self._owner:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)

    def _clear(self, path: Path) -> None:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)

    def _white_out(self, path: Path) -> None:
        if path.name == _OPAQUE:
            self._make_opaque(path.parent)
            return
        target = path.with_name(path.name.removeprefix(_WHITEOUT))
        if target.name in ("", ".", ".."):
            raise Invalid(f"layer deletes outside itself: {path.name!r}")
        if target in self._own:
            return
        self._clear(target)
        if self._whiteouts is Whiteouts.OVERLAY:
            os.mknod(target, 0o600 | 0o020000, os.makedev(0, 0))

    def _make_opaque(self, directory: Path) -> None:
        if self._whiteouts is Whiteouts.OVERLAY:
            os.setxattr(directory, "trusted.overlay.opaque", b"y")
            return
        for child in directory.iterdir():
            if child not in self._own and not any(kept.is_relative_to(child) for kept in self._own):
                self._clear(child)
