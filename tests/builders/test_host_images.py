"""The host base and the tools image, entered and run."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from funcs.oci.layout import Layout
from pipelines.builders.host import tools
from pipelines.builders.host.bytecode import compiled_module
from pipelines.builders.port import Built

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the host base has programs only on Linux"),
]
CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""
enters = pytest.mark.skipif(not CHROOT or os.geteuid() != 0, reason="chroot needs root")


@dataclass(frozen=True)
class Entered:
    """An image's layers, unpacked."""

    root: Path

    def run(self, *command: str) -> str:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "PYTHONPATH": f"/{tools.SITE}"}
        done = subprocess.run(
            [CHROOT, str(self.root), *command], check=False, capture_output=True, timeout=60, env=environment
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("host-images")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def base(scratch: Path) -> Built:
    return tools.build_base_image(Layout(scratch / "images"), scratch / "cache")


@pytest.fixture(scope="module")
def entered(scratch: Path, base: Built) -> Entered:
    root = scratch / "base"
    _unpack(Layout(scratch / "images"), base, root)
    return Entered(root)


@enters
def test_python_runs_in_the_base(entered: Entered) -> None:
    program = "import ssl, sqlite3, ctypes, lzma, zlib, asyncio; print(ssl.create_default_context() and 'well')"
    assert entered.run("python3", "-c", program) == "well\n"


@enters
def test_the_library_of_the_base_is_compiled(entered: Entered) -> None:
    program = "import asyncio.runners as m; print(m.__cached__, m.run.__code__.co_filename)"
    cached, place = entered.run("python3", "-c", program).split()
    assert (entered.root / cached.lstrip("/")).is_file()
    assert place.startswith("/usr/local/lib/python3.")


@enters
def test_a_shell_runs_in_the_base(entered: Entered) -> None:
    assert entered.run("/bin/sh", "-c", "echo $((1 + 1))") == "2\n"


def test_the_base_is_the_same_in_another_store(base: Built, scratch: Path) -> None:
    assert tools.build_base_image(Layout(scratch / "images2"), scratch / "cache2").digest == base.digest


@enters
def test_the_installation_and_git_run_in_the_tools_image(scratch: Path) -> None:
    layout = Layout(scratch / "images")
    built = tools.build_tools_image(layout, scratch / "cache")
    assert tools.build_tools_image(layout, scratch / "cache").digest == built.digest
    root = scratch / "tools"
    _unpack(layout, built, root)
    entered = Entered(root)
    assert "--result-digest" in entered.run("python3", "-m", "pipelines.builders.host", "--help")
    assert "--layout" in entered.run("python3", "-m", "pipelines.builders.push", "--help")
    assert entered.run("python3", "-m", "pip", "--version").startswith("pip ")
    if shutil.which("git"):
        assert entered.run("git", "--version").startswith("git version")


def test_bytecode_does_not_depend_on_what_else_is_in_the_process(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def unusual_name_of_the_tests(x):\n    return x in {'b', 'a', 'unusual constant'}\n")
    program = (
        "import sys, pathlib; from funcs.oci import layer; from pipelines.builders.host.bytecode import *;"
        f"sys.stdout.write(compiled_module(layer.file('m.py', pathlib.Path({str(module)!r}))).hex())"
    )
    environment = dict(os.environ, PYTHONHASHSEED="7")
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60, env=environment)
    from funcs.oci import layer

    alive = ["unusual_name_of_the_tests", sys.intern("unusual constant")]
    assert compiled_module(layer.file("m.py", module)) == bytes.fromhex(done.stdout.decode())
    assert alive


def _unpack(layout: Layout, built: Built, root: Path) -> None:
    for one in built.layers:
        with tarfile.open(layout.blob_path(one.layer.descriptor.digest)) as archive:
            archive.extractall(root, filter="tar")
    if os.geteuid() == 0:  # what a container's own /dev has
        os.mknod(root / "dev" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
