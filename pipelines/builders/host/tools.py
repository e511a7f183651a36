"""The two images that a platform keeps for itself: the host base, and `tools`, in which built-in Tasks run.

Law: made from the machine's own Python and the running installation, fetched from nowhere; the same installation
gives the same digest, and an unchanged one costs a few stats. git is in it where the machine has git.
IO: reads the installation and git; writes the layout.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from funcs.oci import layer, model
from funcs.oci.layer import Entry
from funcs.oci.layout import Layout
from funcs.oci.model import Execution

from ..port import Built, BuiltLayer
from . import foundation, image, programs, rootfs, runtime
from .bytecode import with_bytecode
from .interpreter import this_target
from .keyed import KeyedLayers, key_of

DISTRIBUTION = "funcs-platform"
TOOLS_REPOSITORY = "funcs/tools"
BASE_REPOSITORY = "funcs/base"
BASE_VARIABLE = "FUNCS_BASE"  # in a tools container: the host base, as `repository@digest` of the target's registry
TAG = "latest"
SITE = "opt/funcs/site"  # on PYTHONPATH: distributions' own Pythons differ in where they look for packages
_PACKAGES = ("funcs", "runtimes", "pipelines")
_OF_AN_INSTALLER = frozenset({"INSTALLER", "REQUESTED", "direct_url.json"})
_SECONDS = 30


def build_base_image(layout: Layout, cache: Path) -> Built:
    """`funcs/base:latest` in the layout: Python and nothing else."""
    base = foundation.host_foundation(KeyedLayers(layout, cache / "layers", {}))
    return _finish(layout, BASE_REPOSITORY, base.layers, _execution(base, {}))


def build_tools_image(layout: Layout, cache: Path) -> Built:
    """`funcs/tools:latest` in the layout, and the base it stands on. Raises NotFound if funcs is not installed."""
    layers = KeyedLayers(layout, cache / "layers", {})
    base_image = build_base_image(layout, cache)
    base = foundation.host_foundation(layers)
    built = [*base.layers, layers.get("installation", _installation_key(), _installation)]
    for name, program_key, entries in programs.layers():
        built.append(layers.get(name, program_key, entries))
    env = {"PYTHONPATH": f"/{SITE}", BASE_VARIABLE: f"{BASE_REPOSITORY}@{base_image.digest}"}
    execution = _execution(base, env)
    return _finish(layout, TOOLS_REPOSITORY, tuple(built), execution)


def _finish(layout: Layout, repository: str, layers: tuple[BuiltLayer, ...], execution: Execution) -> Built:
    parts = image.Parts(platform=this_target().platform, layers=layers, execution=execution)
    config, manifest = image.compose(parts)
    layout.put(config)
    return Built(layout.put_manifest(repository, manifest, model.OCI_MANIFEST, TAG), layers)


def _execution(base: foundation.Foundation, env: dict[str, str]) -> Execution:
    given = dict(base.env) | {"HOME": "/home/nonroot", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"} | env
    return Execution(
        user=f"{rootfs.NONROOT}:{rootfs.NONROOT}",
        env=[f"{name}={value}" for name, value in given.items()],
        entrypoint=[base.target.path],
        working_dir="/home/nonroot",
        labels=dict(base.labels) | {"dev.funcs.platform": str(base.target.platform)},
    )


# the running installation


def _installation_key() -> str:
    versions = sorted(f"{found.name}=={found.version}" for found in _closure())
    stamps = []
    for entry in _own_packages():
        if isinstance(entry.content, Path):
            found = entry.content.stat()
            stamps.append(f"{entry.path}:{found.st_size}:{found.st_mtime_ns}")
    return key_of("installation", str(this_target()), *versions, *sorted(stamps))


def _installation() -> Iterator[Entry]:
    return with_bytecode(_installed(), this_target().cache_tag)


def _installed() -> Iterator[Entry]:
    under = SITE
    for distribution in _closure():
        if distribution.name != DISTRIBUTION:
            # RECORD stays: a build in a tools container copies the runtime's wheels by it.
            yield from runtime.installed(distribution.name, under, without=_OF_AN_INSTALLER)
    yield from _own_packages()
    own = importlib.metadata.distribution(DISTRIBUTION)
    about = f"{under}/{DISTRIBUTION.replace('-', '_')}-{own.version}.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        text = own.read_text(name)
        if text is not None:
            yield layer.file(f"{about}/{name}", text.encode())
    if importlib.util.find_spec("pip") is None:
        yield from _pip(under)


def _own_packages() -> Iterator[Entry]:
    under = SITE
    for name in _PACKAGES:
        yield from runtime.package(runtime.location(name), f"{under}/{name}")
    templates = runtime.location("funcs").parent / "templates"
    if templates.is_dir():
        yield from runtime.package(templates, f"{under}/funcs/project/_templates")


def _closure() -> list[importlib.metadata.Distribution]:
    """funcs and all that it requires here (and pip, if it is installed), by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    ahead = [(DISTRIBUTION, frozenset[str]())]
    if importlib.util.find_spec("pip") is not None:
        ahead.append(("pip", frozenset()))
    seen: set[tuple[str, frozenset[str]]] = set()
    while ahead:
        name, extras = ahead.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        distribution = importlib.metadata.distribution(name)
        found[_normal(name)] = distribution
        for line in distribution.requires or ():
            wanted = Requirement(line)
            if _applies(wanted, extras):
                ahead.append((_normal(wanted.name), frozenset(wanted.extras)))
    return [found[name] for name in sorted(found)]


def _applies(wanted: Requirement, extras: frozenset[str]) -> bool:
    return wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras or {""})


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip(under: str) -> Iterator[Entry]:
    """pip from where this Python keeps it for new environments, else from the interpreter's own packages."""
    stdlib = Path(os.__file__).parent
    wheels = [*sorted((stdlib / "ensurepip" / "_bundled").glob("pip-*.whl")),
              *sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))]  # fmt: skip
    if wheels:
        with zipfile.ZipFile(wheels[-1]) as wheel:
            for info in wheel.infolist():
                if not info.is_dir() and ".." not in Path(info.filename).parts:
                    yield layer.file(f"{under}/{info.filename}", wheel.read(info))
        return
    purelib = Path(sysconfig.get_path("purelib", vars={"base": os.path.realpath(stdlib.parents[1])}))
    if (purelib / "pip").is_dir():
        yield from runtime.package(purelib / "pip", f"{under}/pip")
