"""Images as pods use them: a name becomes an image, an image becomes directories.

Law: an image under our own registry's name is read from the layout on disk without any network; any other is pulled
into the same layout first. A snapshot appears whole under its chain id (OCI image specification, "Layer ChainID") or
not at all, and is never changed afterwards. IO: the layout, `snapshots/`, and the puller that is passed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from funcs.errors import FuncsError, Invalid, NotFound, Unavailable
from funcs.oci import model, reference
from funcs.oci.credentials import Credentials
from funcs.oci.layout import Layout
from funcs.oci.reference import Reference

from .unpack import Whiteouts, unpack

Form = Literal["layers", "tree"]
"""How a runtime wants an image: one directory per layer (for overlayfs), or all layers in one tree."""

BASE_LABEL = "dev.funcs.base"


class Puller(Protocol):
    """Brings images of other registries into the layout."""

    async def pull(self, name: Reference, layout: Layout, repository: str, credentials: Credentials) -> None:
        """After it, `layout.resolve(repository, name.locator)` finds the image. Raises FuncsError."""
        ...


Login = Callable[[], Awaitable[Credentials]]
"""Finds the credentials of a pull, once it is certain that there will be one. Raises FuncsError."""


async def anonymous() -> Credentials:
    return Credentials()


@dataclass(frozen=True, slots=True)
class Image:
    """What a container needs of an image. `id` is what `status.containerStatuses[].imageID` shows."""

    name: str
    id: str
    digest: str
    config: model.Execution
    layers: tuple[model.Descriptor, ...]
    diff_ids: tuple[str, ...]
    pulled: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        return self.config.labels or {}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Directories, topmost first: one per layer, or the single tree."""

    directories: tuple[Path, ...]


class ImageStore:
    """`own_registry` is the name (`localhost:<port>`) under which the layout's repositories are known to pods."""

    def __init__(self, layout: Layout, platform: model.Platform, own_registry: str, puller: Puller) -> None:
        self._layout = layout
        self._platform = platform
        self._own_registry = own_registry
        self._puller = puller
        self._snapshots = layout.root / "snapshots"
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def find(self, name: str, policy: str = "", login: Login = anonymous) -> Image:
        """The image of this name, pulled if the policy (`imagePullPolicy`) asks for it. No collection takes it within
        the next hour.

        Raises Invalid (InvalidImageName), Unavailable (ErrImagePull, ErrImageNeverPull).
        """
        try:
            wanted = reference.parse(name)
        except Invalid as error:
            raise Invalid(f"Failed to apply default image tag {name!r}: {error}", reason="InvalidImageName") from error
        ours = wanted.registry == self._own_registry
        found = self._layout.resolve(repository_of(wanted, self._own_registry), wanted.locator)
        pulled = False
        if not ours and policy != "Never" and (found is None or (policy or _default_policy(wanted)) == "Always"):
            found = await self._pull(wanted, login)
            pulled = True
        if found is None or not await asyncio.to_thread(self._layout.renew, found.digest):
            reason = "ErrImageNeverPull" if policy == "Never" else "ErrImagePull"
            raise Unavailable(f'failed to pull image "{name}": not found', reason=reason)
        return replace(self._read(name, wanted, found), pulled=pulled)

    async def snapshot(self, image: Image, form: Form) -> Snapshot:
        """The image as directories; unpacks what is not there yet. Raises FuncsError (ErrImagePull)."""
        try:
            if form == "tree":
                return Snapshot((await self._tree(image, len(image.layers)),))
            directories = [await self._layer(image, index) for index in range(len(image.layers))]
        except (FuncsError, OSError) as error:
            raise Unavailable(f'failed to unpack image "{image.name}": {error}', reason="ErrImagePull") from error
        return Snapshot(tuple(reversed(directories)))

    def collect(self, before: float) -> list[str]:
        """Remove snapshots made before this time that no image of the layout leads to; their names.

        A pod's image stays in the layout for as long as the pod is an object, and so does its snapshot. Synchronous.
        Raises FuncsError, having removed nothing, if the layout's names cannot be read.
        """
        wanted = {name for found in self._manifests() for name in _snapshots_of(self._layout, found)}
        removed = []
        for place in self._snapshots.iterdir() if self._snapshots.is_dir() else ():
            if place.name not in wanted and place.stat(follow_symlinks=False).st_ctime < before:
                shutil.rmtree(place, ignore_errors=True)
                removed.append(place.name)
        return removed

    def _manifests(self) -> set[str]:
        """The digests of the layout's image manifests for this machine."""
        layout = self._layout
        listed = [found for repository in layout.repositories() for found in layout.manifests(repository)]
        found = set()
        for each in listed:
            with contextlib.suppress(NotFound):  # an index without an image for this machine
                found.add(self._manifest_digest(each.digest, each))
        return found

    async def _pull(self, wanted: Reference, login: Login) -> model.Descriptor | None:
        repository = repository_of(wanted, self._own_registry)
        async with self._alone(str(wanted)):
            try:
                await self._puller.pull(wanted, self._layout, repository, await login())
            except FuncsError as error:
                raise Unavailable(f'failed to pull image "{wanted}": {error}', reason="ErrImagePull") from error
        return self._layout.resolve(repository, wanted.locator)

    def _read(self, name: str, wanted: Reference, found: model.Descriptor) -> Image:
        try:
            manifest_digest = self._manifest_digest(name, found)
            manifest = model.decode(self._layout.read(manifest_digest), model.Manifest, f"the manifest of {name}")
            data = self._layout.read(manifest.config.digest)
            configuration = model.decode(data, model.Configuration, f"the configuration of {name}")
        except (Invalid, NotFound) as error:
            raise Unavailable(f'failed to pull image "{name}": {error}', reason="ErrImagePull") from error
        diff_ids = tuple(configuration.rootfs.diff_ids)
        if len(diff_ids) != len(manifest.layers):
            raise Unavailable(
                f'failed to pull image "{name}": layers and diff_ids differ in number', reason="ErrImagePull"
            )
        return Image(
            name=name,
            id=f"{wanted.registry}/{wanted.repository}@{found.digest}",
            digest=manifest_digest,
            config=configuration.config or model.Execution(),
            layers=tuple(manifest.layers),
            diff_ids=diff_ids,
        )

    def _manifest_digest(self, name: str, found: model.Descriptor) -> str:
        """Through an index, the one for this machine's platform."""
        if found.media_type not in model.INDEXES:
            return found.digest
        index = model.decode(self._layout.read(found.digest), model.Index, f"the index of {name}")
        for entry in index.manifests:
            if entry.platform is not None and entry.platform.suits(self._platform):
                return entry.digest
        raise NotFound(f"no manifest for {self._platform}")

    async def _layer(self, image: Image, index: int) -> Path:
        """One layer's own files, with whiteouts as overlayfs understands them."""
        layer = image.layers[index]

        def build(directory: Path) -> None:
            unpack(self._layout.blob_path(layer.digest), layer.media_type, directory, Whiteouts.OVERLAY)

        return await self._once(chain_id(image.diff_ids[: index + 1]), build)

    async def _tree(self, image: Image, depth: int) -> Path:
        """The lowest `depth` layers as one tree; the layers below the last are shared with it by hard links."""
        below = await self._tree(image, depth - 1) if depth > 1 else None
        layer = image.layers[depth - 1] if depth else None

        def build(directory: Path) -> None:
            if below is not None:
                shutil.copytree(below, directory, symlinks=True, copy_function=_link, dirs_exist_ok=True)
            if layer is not None:
                unpack(self._layout.blob_path(layer.digest), layer.media_type, directory, Whiteouts.APPLY)

        return await self._once(chain_id(image.diff_ids[:depth]) + "-tree", build)

    async def _once(self, name: str, build: Callable[[Path], None]) -> Path:
        place = self._snapshots / name
        async with self._alone(name):
            if not place.exists():
                await asyncio.to_thread(_build, place, build)
        return place

    @asynccontextmanager
    async def _alone(self, what: str) -> AsyncIterator[None]:
        """One at a time; whoever waits finds the work done."""
        lock, waiting = self._locks.get(what) or (asyncio.Lock(), 0)
        self._locks[what] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(what)
            if waiting > 1:
                self._locks[what] = lock, waiting - 1


def _snapshots_of(layout: Layout, manifest_digest: str) -> list[str]:
    """What an image's snapshots are called, of either form; none if it is only partly here or no image at all."""
    try:
        manifest = model.decode(layout.read(manifest_digest), model.Manifest, manifest_digest)
        ids = model.decode(layout.read(manifest.config.digest), model.Configuration, manifest_digest).rootfs.diff_ids
    except (NotFound, Invalid):
        return []  # such a one could not have been unpacked
    chains = [chain_id(tuple(ids[:length])) for length in range(len(ids) + 1)]
    return [name for chain in chains for name in (chain, f"{chain}-tree")]


def repository_of(name: Reference, own_registry: str) -> str:
    """Where the layout keeps this image: foreign ones under their registry's host, apart from our own."""
    if name.registry == own_registry:
        return name.repository
    return f"{name.registry.lower().replace(':', '__')}/{name.repository}"  # no host name has an underscore


def chain_id(diff_ids: tuple[str, ...]) -> str:
    """The hex of the ChainID of these layers, lowest first."""
    chain = ""
    for diff_id in diff_ids:
        chain = diff_id if not chain else "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
    return chain.removeprefix("sha256:") or "empty"


def _build(place: Path, build: Callable[[Path], None]) -> None:
    """Make the directory aside and move it into place; whoever comes second, in any process, drops his."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        aside.chmod(0o755)
        build(aside)
        try:
            aside.rename(place)
        except OSError:
            if not place.exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _link(source: str, target: str) -> str:
    os.link(source, target, follow_symlinks=False)
    return target


def _default_policy(wanted: Reference) -> str:
    """Kubernetes: Always for `latest` and for no tag at all, else IfNotPresent."""
    return "Always" if not wanted.digest and wanted.tag in ("", "latest") else "IfNotPresent"
