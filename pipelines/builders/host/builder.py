"""The host builder: a function's image from its source, this installation and wheels, without a daemon.

Law: an image is base, dependencies, runtime, source, each a layer known by a key of all it depends on; a build
makes only the layers whose key is new, and equal inputs give an equal digest. IO: the layout, the cache directory,
the installer when dependencies are new.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import Conflict, Invalid
from funcs.oci import layer, model
from funcs.oci.layer import Entry
from funcs.oci.layout import Layout
from funcs.oci.model import Execution
from funcs.project import digest, files, funcfile
from funcs.project.files import SourceFile

from ..port import Built, BuiltLayer, Plan, Report, Source
from . import dependencies, image, requirements, rootfs, runtime
from .bytecode import compiled, with_bytecode
from .dependencies import Installed
from .foundation import Foundation
from .installer import InstallSettings
from .interpreter import Target
from .keyed import KeyedLayers, key_of
from .requirements import Requirements

PLACE = "func"
PORT = "8080"
_PATHS = (PLACE, dependencies.PLACE, runtime.PLACE, runtime.WHEELS_PLACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """`cache` is a directory that may be lost (`$XDG_CACHE_HOME/funcs`); `now_ns` is the Unix time."""

    cache: Path
    install: InstallSettings
    now_ns: Callable[[], int]


class HostBuilder:
    """A Builder. `foundation` finds or makes what images stand on."""

    def __init__(
        self, layout: Layout, settings: HostSettings, foundation: Callable[[KeyedLayers], Awaitable[Foundation]]
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._foundation = foundation

    async def build(self, source: Source, plan: Plan, report: Report) -> Built:
        """Raises Invalid, Conflict (names that belong to the runtime), Unavailable (index not reached)."""
        found = await asyncio.to_thread(files.walk, source.root)
        check_handler(found)
        wanted = requirements.read(source.root)
        layers = KeyedLayers(self._layout, self._settings.cache / "layers", plan.known)
        base = await self._foundation(layers)
        making = _Making(self._settings, layers, base.target)
        built = [*base.layers, *await making.dependencies(wanted), *await making.runtime()]
        built += await making.source(source, found)
        for one in built:
            report(one)
        return await asyncio.to_thread(self._finish, source, plan, base, tuple(built), making.keys)

    def _finish(
        self, source: Source, plan: Plan, base: Foundation, layers: tuple[BuiltLayer, ...], keys: dict[str, str]
    ) -> Built:
        parts = image.Parts(
            platform=base.target.platform,
            layers=layers,
            keys=keys,
            execution=_execution(source, plan, base),
            annotations=_base_annotations(base),
        )
        config, manifest = image.compose(parts)
        self._layout.put(config)
        self._layout.put(manifest)
        descriptor = model.described(manifest, model.OCI_MANIFEST)
        self._layout.tag(plan.repository, descriptor, plan.tag)
        return Built(descriptor, layers)


def check_handler(found: list[SourceFile]) -> str:
    """The module that holds `handle`: `func.py`, else `function/func.py` or the package. Raises Invalid, Conflict."""
    paths = {file.path: file for file in found}
    reserved = sorted({path.partition("/")[0] for path in paths} & dependencies.RESERVED)
    if reserved:
        raise Conflict(
            f"{reserved[0]} in the function's directory hides the runtime's own package",
            reason="SourceConflict",
            hint="Give it another name.",
        )
    for path in ("func.py", "function/func.py", "function/__init__.py"):
        if path in paths:
            _check_syntax(paths[path])
            return path
    raise Invalid(
        "there is neither func.py nor a package function/ in the function's directory",
        reason="HandlerMissing",
        hint="Put `handle(ctx, event)` into func.py.",
    )


def _check_syntax(file: SourceFile) -> None:
    try:
        compiled(file.place.read_bytes(), file.path)
    except SyntaxError as error:
        raise Invalid(
            f"{file.path}, line {error.lineno}: SyntaxError: {error.msg}",
            reason="HandlerInvalid",
            hint=f"Correct {file.path}; nothing was built.",
        ) from error
    except ValueError as error:
        raise Invalid(f"{file.path} is not Python: {error}", reason="HandlerInvalid") from error


class _Making:
    """The layers above the base; `keys` collects what they are known by."""

    def __init__(self, settings: HostSettings, layers: KeyedLayers, target: Target) -> None:
        self._settings = settings
        self._layers = layers
        self._target = target
        self.keys: dict[str, str] = {}

    async def runtime(self) -> list[BuiltLayer]:
        key = await asyncio.to_thread(runtime.key, self._target)
        made = [await self._get("runtime", key, lambda: runtime.entries(self._target))]
        if not self._target.is_this:
            pinned = tuple(f"{name}=={version}" for name, version in runtime.wheel_versions().items())
            made += await self._installed("runtime-wheels", Requirements(pinned), runtime.WHEELS_PLACE)
        return made

    async def dependencies(self, wanted: Requirements) -> list[BuiltLayer]:
        return await self._installed("dependencies", wanted, dependencies.PLACE) if wanted.lines else []

    async def source(self, source: Source, found: list[SourceFile]) -> list[BuiltLayer]:
        shipped = [file for file in found if file.path != funcfile.NAME]
        name = hashlib.sha256(str(source.root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
        remembered = self._settings.cache / "stat" / name
        content = await asyncio.to_thread(digest.source_digest, shipped, remembered, now_ns=self._settings.now_ns())
        key = key_of("source", content, self._target.cache_tag if self._target.is_this else "")
        return [await self._get("source", key, lambda: self._source_entries(shipped))]

    async def _installed(self, name: str, wanted: Requirements, place: str) -> list[BuiltLayer]:
        key = dependencies.key(wanted, self._target, self._settings.install)
        if self._layers.find(key) is not None:
            return [await self._get(name, key, lambda: ())]
        with Installed(self._target, place) as wheels:
            await wheels.install(wanted, self._settings.install)
            return [await self._get(name, key, wheels.entries)]

    async def _get(self, name: str, key: str, entries: Callable[[], Iterator[Entry] | tuple[()]]) -> BuiltLayer:
        self.keys[name] = key
        return await asyncio.to_thread(self._layers.get, name, key, entries)

    def _source_entries(self, shipped: list[SourceFile]) -> Iterator[Entry]:
        entries = [_source_entry(file) for file in shipped]
        return with_bytecode(entries, self._target.cache_tag) if self._target.is_this else iter(entries)


def _source_entry(file: SourceFile) -> Entry:
    if file.link:
        return layer.symlink(f"{PLACE}/{file.path}", file.link)
    return layer.file(f"{PLACE}/{file.path}", file.place, executable=file.executable)


def _execution(source: Source, plan: Plan, base: Foundation) -> Execution:
    env = dict(base.env) | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": ":".join(f"/{path}" for path in _PATHS),
        "PORT": PORT,
        **plan.envs,
    }
    labels = dict(base.labels) | {
        "org.opencontainers.image.title": plan.name,
        **({"org.opencontainers.image.source": source.url} if source.url else {}),
        **({"org.opencontainers.image.revision": source.revision} if source.revision else {}),
        "dev.funcs.function": plan.name,
        "dev.funcs.python": base.target.python,
        "dev.funcs.platform": str(base.target.platform),
        **plan.labels,
    }
    return Execution(
        user=f"{rootfs.NONROOT}:{rootfs.NONROOT}",
        exposed_ports={f"{PORT}/tcp": {}},
        env=[f"{name}={value}" for name, value in env.items()],
        entrypoint=[base.target.path, "-m", "funcs._runtime.function"],
        working_dir=f"/{PLACE}",
        labels=labels,
        stop_signal="SIGTERM",
    )


def _base_annotations(base: Foundation) -> dict[str, str]:
    if not base.reference:
        return {}
    name, _, pinned = base.reference.partition("@")
    return {"org.opencontainers.image.base.name": name, "org.opencontainers.image.base.digest": pinned}
