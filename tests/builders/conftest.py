"""A function in a directory, wheels to depend on, and a builder over a base of one file."""

from __future__ import annotations

import os
import tarfile
import time
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from funcs.oci import layer, model
from funcs.oci.layout import Layout
from funcs.oci.model import Configuration, Manifest
from pipelines.builders.host.builder import HostBuilder, HostSettings
from pipelines.builders.host.foundation import Foundation
from pipelines.builders.host.installer import InstallSettings
from pipelines.builders.host.interpreter import this_target
from pipelines.builders.host.keyed import KeyedLayers
from pipelines.builders.host.requirements import IndexSettings
from pipelines.builders.port import Built, Plan, Source

HANDLER = "async def handle(ctx, event):\n    return 'hello'\n"


async def one_file(layers: KeyedLayers) -> Foundation:
    built = layers.get("base", "base-of-the-tests", lambda: [layer.file("etc/base", b"base")])
    return Foundation((built,), this_target(), {"PATH": "/usr/local/bin"}, {"dev.funcs.base": "host"})


@dataclass
class Workshop:
    """A builder with a layout and a cache of its own."""

    root: Path
    wheels: Path
    path: str = os.environ["PATH"]
    foundation: Callable[[KeyedLayers], Awaitable[Foundation]] = one_file

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "images")

    async def build(self, source: Path) -> Built:
        index = IndexSettings(no_index=True, find_links=(str(self.wheels),))
        environ = {"PATH": self.path, "HOME": str(self.root), "PIP_CONFIG_FILE": os.devnull}
        install = InstallSettings(environ=environ, index=index, seconds=60)
        settings = HostSettings(cache=self.root / "cache", install=install, now_ns=time.time_ns)
        builder = HostBuilder(self.layout, settings, self.foundation)
        return await builder.build(Source(source), Plan(name="hello", repository="tests/hello"), lambda layer: None)

    def blobs(self) -> set[str]:
        return {path.name for path in self.layout.blobs.iterdir()}

    def names(self, built: Built, layer_name: str) -> list[str]:
        """The paths in one layer."""
        found = next(one for one in built.layers if one.name == layer_name)
        with tarfile.open(self.layout.blob_path(found.layer.descriptor.digest)) as archive:
            return archive.getnames()

    def configuration(self, built: Built) -> Configuration:
        manifest = model.decode(self.layout.read(built.digest), Manifest, "manifest")
        return model.decode(self.layout.read(manifest.config.digest), Configuration, "configuration")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    directory = tmp_path / "wheels"
    directory.mkdir()
    make_wheel(directory, "shapes", "1.0")
    return directory


@pytest.fixture
def workshop(tmp_path: Path, wheels: Path) -> Workshop:
    return Workshop(tmp_path / "one", wheels)


@pytest.fixture
def another(tmp_path: Path, wheels: Path) -> Workshop:
    return Workshop(tmp_path / "two", wheels)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_function(tmp_path / "function")


def write_function(root: Path, handler: str = HANDLER, requirements: str = "") -> Path:
    root.mkdir()
    (root / "func.yaml").write_text("specVersion: 0.36.0\nname: hello\nruntime: python\n")
    (root / "func.py").write_text(handler)
    (root / "other.py").write_text("CONSTANT = {'b', 'a'}\n")
    if requirements:
        (root / "requirements.txt").write_text(requirements)
    return root


def make_wheel(directory: Path, name: str, version: str, package: str = "") -> None:
    package = package or name
    about = f"{name}-{version}.dist-info"
    files = {
        f"{package}/__init__.py": f"VERSION = {version!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{name}-tool = {package}:VERSION\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{about}/RECORD", record)
