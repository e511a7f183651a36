"""Images on disk: an OCI image layout that is builder's output, registry's storage and puller's store at once.

Law: a blob appears under its digest whole or not at all, and nothing is believed to have a digest that was not
computed here. `index.json` is the one truth about names: an entry per tag (`org.opencontainers.image.ref.name` is
`repository:tag`) or per untagged manifest, replaced atomically under a file lock, so any number of processes share
a layout. Blobs are shared by all repositories. IO: everything below `root`; synchronous.

    format               this layout's format number      oci-layout, index.json, blobs/sha256/<hex>
    leases/<name>        digests that must stay           ingest/<random>   blobs on their way in
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from funcs.errors import Invalid, NotFound, Unsupported

from . import model
from .model import Descriptor, Index
from .reference import checked_digest, checked_repository, checked_tag, is_digest

FORMAT = 1
REF_NAME = "org.opencontainers.image.ref.name"
REPOSITORY = "dev.funcs.repository"


class Ingest:
    """A blob on its way in: write it, then `commit`; leaving the `with` block without a commit drops it."""

    def __init__(self, blobs: Path, file: IO[bytes]) -> None:
        self._blobs = blobs
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def commit(self, expected: str = "") -> str:
        """Make the blob present; its digest. Raises Invalid if `expected` names another."""
        digest = "sha256:" + self._hash.hexdigest()
        if expected and checked_digest(expected) != digest:
            raise Invalid(f"content is {digest}, not {expected} as said", reason="DigestInvalid")
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._file.close()
        place = self._blobs / digest.removeprefix("sha256:")
        os.chmod(self._file.name, 0o644)  # noqa: PTH101
        os.replace(self._file.name, place)  # noqa: PTH105
        return digest

    def drop(self) -> None:
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.drop()


class _Names:
    """`index.json` as maps: repository → digest → descriptor, and repository → tag → digest."""

    def __init__(self, index: Index) -> None:
        self.manifests: dict[str, dict[str, Descriptor]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        for entry in index.manifests:
            ref = entry.annotations.get(REF_NAME, "")
            repository = entry.annotations.get(REPOSITORY, ref.rpartition(":")[0])
            self.manifests.setdefault(repository, {})[entry.digest] = _bare(entry)
            if ref:
                self.tags.setdefault(repository, {})[ref.rpartition(":")[2]] = entry.digest

    def index(self) -> Index:
        entries = []
        for repository, manifests in sorted(self.manifests.items()):
            tags = self.tags.get(repository, {})
            for digest, descriptor in sorted(manifests.items()):
                named = sorted(tag for tag, tagged in tags.items() if tagged == digest)
                entries += [_named(descriptor, repository, tag) for tag in named or [""]]
        return Index(schema_version=2, media_type=model.OCI_INDEX, manifests=entries)


class Layout:
    """One image layout. Made if it is absent; refused if a newer funcs made it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"
        self._ingest = root / "ingest"
        self._leases = root / "leases"
        self._seen: tuple[tuple[int, int, int], _Names] | None = None
        for path in (self.blobs, self._ingest, self._leases):
            path.mkdir(parents=True, exist_ok=True)
        self._check_format()

    # blobs

    def blob_path(self, digest: str) -> Path:
        """Where the blob is, or would be. Raises Invalid for what is not a digest."""
        return self.blobs / checked_digest(digest).removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.blob_path(digest).is_file()

    def renew(self, digest: str) -> bool:
        """Whether the blob is here; if so it is as safe from collection as a new one."""
        with self._locked(fcntl.LOCK_SH), suppress(FileNotFoundError):
            os.utime(self.blob_path(digest))
            return True
        return False

    def size(self, digest: str) -> int:
        """In bytes. Raises NotFound."""
        try:
            return self.blob_path(digest).stat().st_size
        except FileNotFoundError:
            raise _absent(digest) from None

    def read(self, digest: str, limit: int = model.LARGEST_MANIFEST) -> bytes:
        """A small blob (manifest, configuration). Raises NotFound, Invalid when it is larger than `limit` bytes."""
        try:
            with self.blob_path(digest).open("rb") as blob:
                data = blob.read(limit + 1)
        except FileNotFoundError:
            raise _absent(digest) from None
        if len(data) > limit:
            raise Invalid(f"blob {digest} is larger than {limit} bytes", reason="SizeInvalid")
        return data

    def ingest(self) -> Ingest:
        """For `with layout.ingest() as blob: blob.write(…); blob.commit(expected)`."""
        descriptor, name = tempfile.mkstemp(dir=self._ingest)
        os.close(descriptor)
        return Ingest(self.blobs, Path(name).open("wb", buffering=0))

    def put(self, data: bytes, expected: str = "") -> str:
        """Store bytes; their digest. Raises Invalid if `expected` names other bytes."""
        digest = model.digest_of(data)
        if expected in ("", digest) and self.renew(digest):
            return digest
        with self.ingest() as blob:
            blob.write(data)
            return blob.commit(expected)

    def put_stream(self, chunks: Iterable[bytes], expected: str = "") -> str:
        """Store a stream; its digest. Raises Invalid if `expected` names other bytes."""
        with self.ingest() as blob:
            for chunk in chunks:
                blob.write(chunk)
            return blob.commit(expected)

    # names

    def resolve(self, repository: str, locator: str) -> Descriptor | None:
        """The manifest or index that a tag or digest names in this repository."""
        names = self._names()
        digest = locator if is_digest(locator) else names.tags.get(repository, {}).get(locator, "")
        return names.manifests.get(repository, {}).get(digest)

    def repositories(self) -> list[str]:
        return sorted(self._names().manifests)

    def tags(self, repository: str) -> list[str]:
        """Raises NotFound if there is no such repository."""
        names = self._names()
        if repository not in names.manifests:
            raise NotFound(f"no repository {repository}", reason="NameUnknown")
        return sorted(names.tags.get(repository, {}))

    def manifests(self, repository: str) -> list[Descriptor]:
        """Every manifest of a repository, tagged or not."""
        return list(self._names().manifests.get(repository, {}).values())

    def put_manifest(self, repository: str, data: bytes, media_type: str, tag: str = "") -> Descriptor:
        """Store a manifest or index and name it. Everything it names must be here. Raises Invalid."""
        what = f"the manifest for {repository}"
        for child in model.children(data, media_type, what):
            if not self.renew(child.digest):
                raise Invalid(f"{what} names {child.digest}, which is not here", reason="ManifestBlobUnknown")
        self.put(data)
        descriptor = model.described(data, media_type)
        self.tag(repository, descriptor, tag)
        return descriptor

    def tag(self, repository: str, descriptor: Descriptor, tag: str = "") -> None:
        """Name a stored manifest; without a tag it is known by its digest only. What a tag named before stays."""
        checked_repository(repository)
        if tag:
            checked_tag(tag)

        def change(names: _Names) -> None:
            names.manifests.setdefault(repository, {})[descriptor.digest] = _bare(descriptor)
            if tag:
                names.tags.setdefault(repository, {})[tag] = descriptor.digest

        self._change(change)

    def delete(self, repository: str, locator: str) -> None:
        """Forget a tag, or a manifest with every tag it has. Blobs go at the next collection. Raises NotFound."""

        def change(names: _Names) -> None:
            tags, manifests = names.tags.get(repository, {}), names.manifests.get(repository, {})
            if is_digest(locator) and locator in manifests:
                del manifests[locator]
                for tag in [tag for tag, digest in tags.items() if digest == locator]:
                    del tags[tag]
            elif tags.pop(locator, None) is None:
                raise NotFound(f"{repository} has no {locator}", reason="ManifestUnknown")
            if not manifests:
                names.manifests.pop(repository, None)

        self._change(change)

    # collection

    def lease(self, name: str, digests: Iterable[str]) -> None:
        """Keep these manifests and all they name until the lease is released; replaces a lease of the same name.

        Raises NotFound if one is not here, Invalid if one is not a manifest.
        """
        kept = list(digests)
        with self._locked(fcntl.LOCK_SH):
            for digest in kept:
                model.media_type_of(self.read(digest), digest)
            self._replace(self._lease_path(name), "".join(f"{digest}\n" for digest in kept).encode())

    def release(self, name: str) -> None:
        self._lease_path(name).unlink(missing_ok=True)

    def collect(self, before: float) -> list[str]:
        """Remove what no tag and no lease leads to and what was last wanted before this time; the digests removed."""
        with self._locked(fcntl.LOCK_EX):
            leased = {line for lease in self._leases.iterdir() for line in lease.read_text().split()}
            names = self._read_names()
            if self._forget_untagged(names, leased, before):
                self._write_names(names)
            kept = self._reachable(names, leased)
            removed = [path for path in self.blobs.iterdir() if path.name not in kept and _older(path, before)]
            for path in [*removed, *(path for path in self._ingest.iterdir() if _older(path, before))]:
                path.unlink(missing_ok=True)
        return [f"sha256:{path.name}" for path in removed]

    def _forget_untagged(self, names: _Names, leased: set[str], before: float) -> bool:
        forgotten = False
        in_use = self._below(leased)
        for repository, manifests in list(names.manifests.items()):
            kept = self._below(names.tags.get(repository, {}).values()) | in_use
            for digest in [digest for digest in manifests if digest.removeprefix("sha256:") not in kept]:
                path = self.blob_path(digest)
                if not path.exists() or _older(path, before):
                    del manifests[digest]
                    forgotten = True
            if not manifests:
                del names.manifests[repository]
        return forgotten

    def _reachable(self, names: _Names, leased: set[str]) -> set[str]:
        known = {digest for manifests in names.manifests.values() for digest in manifests}
        return self._below(known | leased)

    def _below(self, digests: Iterable[str]) -> set[str]:
        """The file names of these manifests and of all that they lead to. Raises Invalid rather than lose a branch."""
        kept: set[str] = set()
        ahead = list(digests)
        while ahead:
            digest = ahead.pop()
            if digest.removeprefix("sha256:") in kept or not self.has(digest):
                continue
            kept.add(digest.removeprefix("sha256:"))
            data = self.read(digest)
            for child in model.children(data, model.media_type_of(data, digest), digest):
                if child.media_type in model.MANIFESTS | model.INDEXES:
                    ahead.append(child.digest)
                else:
                    kept.add(child.digest.removeprefix("sha256:"))
        return kept

    # files

    def _names(self) -> _Names:
        found = os.stat(self.root / "index.json")  # noqa: PTH116
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if self._seen is None or self._seen[0] != stamp:
            self._seen = (stamp, self._read_names())
        return self._seen[1]

    def _read_names(self) -> _Names:
        path = self.root / "index.json"
        try:
            return _Names(msgspec.json.decode(path.read_bytes(), type=Index))
        except (msgspec.MsgspecError, ValueError) as error:
            raise Invalid(f"{path} cannot be read: {error}", reason="LayoutInvalid") from error

    def _write_names(self, names: _Names) -> None:
        self._replace(self.root / "index.json", model.encode(names.index()))

    def _change(self, change: Callable[[_Names], None]) -> None:
        with self._locked(fcntl.LOCK_EX):
            names = self._read_names()
            before = names.index()
            change(names)
            if names.index() != before:
                self._write_names(names)

    def _check_format(self) -> None:
        with self._locked(fcntl.LOCK_EX):
            marker = self.root / "format"
            if not marker.exists():
                self._replace(self.root / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
                if not (self.root / "index.json").exists():
                    self._write_names(_Names(Index(schema_version=2, manifests=[])))
                self._replace(marker, b"%d\n" % FORMAT)
            found = marker.read_text().strip()
        if found != str(FORMAT):
            raise Unsupported(
                f"the image store {self.root} has format {found[:20]!r}; this funcs knows format {FORMAT}",
                reason="FormatUnknown",
                hint="Use the funcs that made it, or give this one another directory.",
            )

    def _replace(self, path: Path, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._ingest)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
            os.chmod(name, 0o644)  # noqa: PTH101
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _lease_path(self, name: str) -> Path:
        if not name or name.startswith(".") or "/" in name or "\0" in name or len(name) > 200:
            raise Invalid(f"not a lease's name: {name[:220]!r}")
        return self._leases / name

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with (self.root / "lock").open("ab") as lock:
            fcntl.flock(lock, how)
            yield


def _bare(descriptor: Descriptor) -> Descriptor:
    kept = {key: value for key, value in descriptor.annotations.items() if key not in (REF_NAME, REPOSITORY)}
    return msgspec.structs.replace(descriptor, annotations=kept)


def _named(descriptor: Descriptor, repository: str, tag: str) -> Descriptor:
    added = {REPOSITORY: repository} | ({REF_NAME: f"{repository}:{tag}"} if tag else {})
    return msgspec.structs.replace(descriptor, annotations=descriptor.annotations | added)


def _older(path: Path, than: float) -> bool:
    try:
        return path.stat().st_mtime < than
    except FileNotFoundError:
        return True


def _absent(digest: str) -> NotFound:
    return NotFound(f"no blob {digest}", reason="BlobUnknown")
