"""From source to an answer: the image of a new function is built, pushed, pulled, entered, and asked."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from funcs.oci import model
from funcs.oci.layout import Layout
from funcs.oci.model import Configuration, Manifest
from funcs.project import template
from funcs.project.template import NewFunction
from pipelines.builders.host import tools
from pipelines.builders.push import TOKEN_VARIABLE

from ..oci.conftest import TOKEN, Running, registry_server

__all__ = ["registry_server"]

CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host base has programs only on Linux")
enters = pytest.mark.skipif(not CHROOT or os.geteuid() != 0, reason="chroot needs root")
DEADLINE = 20.0


@pytest.fixture
def function(tmp_path: Path) -> Path:
    asked = NewFunction(name="hello", created="2026-01-02T03:04:05Z")
    template.create(tmp_path / "hello", asked, template.builtin_templates())
    return tmp_path / "hello"


def step(tmp_path: Path, module: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A step of a Task: a process of its own, with a cache of its own."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"),
        TOKEN_VARIABLE: TOKEN, **environ,
    }  # fmt: skip
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)


def test_build_and_push_as_one_step(registry_server: Running, function: Path, tmp_path: Path) -> None:
    words = ["--source", str(function), "--image", f"{registry_server.name}/tests/hello:v1", "--push"]
    result = tmp_path / "digest"
    done = step(tmp_path, "pipelines.builders.host", *words, "--result-digest", str(result))
    assert done.returncode == 0, done.stderr
    stored = registry_server.layout.resolve("tests/hello", "v1")
    assert stored is not None
    assert result.read_text() == stored.digest


def test_build_and_push_as_two_steps(registry_server: Running, function: Path, tmp_path: Path) -> None:
    image, layout = f"{registry_server.name}/tests/hello:v1", str(tmp_path / "layout")
    built = step(tmp_path, "pipelines.builders.host", "--source", str(function), "--image", image, "--layout", layout)
    assert built.returncode == 0, built.stderr
    url = tmp_path / "url"
    pushed = step(tmp_path, "pipelines.builders.push", "--layout", layout, "--image", image, "--result-url", str(url))
    assert pushed.returncode == 0, pushed.stderr
    assert url.read_text() == image
    assert registry_server.layout.resolve("tests/hello", "v1") is not None


def test_a_build_elsewhere_reuses_what_the_registry_has(
    registry_server: Running, function: Path, tmp_path: Path
) -> None:
    base = tools.build_base_image(registry_server.layout, tmp_path / "own")
    standing = {tools.BASE_VARIABLE: f"{tools.BASE_REPOSITORY}@{base.digest}"}
    words = ["--source", str(function), "--image", f"{registry_server.name}/tests/hello:v1", "--push"]
    first = step(tmp_path / "one", "pipelines.builders.host", *words, **standing)
    assert first.returncode == 0, first.stderr
    (function / "func.py").write_text((function / "func.py").read_text() + "# changed\n")
    second = step(tmp_path / "two", "pipelines.builders.host", *words, **standing)
    assert second.returncode == 0, second.stderr
    made = [line.split()[1] for line in second.stdout.splitlines() if line.split()[0] == "made"]
    pushed = [line for line in second.stdout.splitlines() if line.split()[0] == "pushed"]
    assert made == ["source"]
    assert len(pushed) == 2, "the source layer and the configuration"


def test_a_build_into_a_layout_leaves_out_what_the_registry_has(
    registry_server: Running, function: Path, tmp_path: Path
) -> None:
    base = tools.build_base_image(registry_server.layout, tmp_path / "own")
    standing = {tools.BASE_VARIABLE: f"{tools.BASE_REPOSITORY}@{base.digest}"}
    image = f"{registry_server.name}/tests/hello:v1"
    for attempt in ("one", "two"):
        layout = Layout(tmp_path / attempt / "layout")
        words = ["--image", image, "--layout", str(layout.root)]
        built = step(tmp_path / attempt, "pipelines.builders.host", "--source", str(function), *words, **standing)
        assert built.returncode == 0, built.stderr
        pushed = step(tmp_path / attempt, "pipelines.builders.push", *words)
        assert pushed.returncode == 0, pushed.stderr
    assert len(list(layout.blobs.iterdir())) == 2, "the configuration and the manifest"


def test_a_step_that_fails_says_what_to_do(registry_server: Running, tmp_path: Path) -> None:
    done = step(tmp_path, "pipelines.builders.host", "--source", str(tmp_path), "--image", "localhost:1/x")
    assert done.returncode == 1
    assert "no func.yaml" in done.stderr
    assert "funcs create" in done.stderr
    assert "Traceback" not in done.stderr


@enters
def test_a_new_function_answers_from_its_image(function: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    done = step(
        tmp_path, "pipelines.builders.host", "--source", str(function), "--image", "localhost:1/tests/hello",
        "--layout", str(layout.root),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with _running(layout, tmp_path / "root", tmp_path / "log") as port:
        assert _asked(port, b'{"name": "Ada"}') == {"message": "Hello, Ada!"}


@contextmanager
def _running(layout: Layout, root: Path, log: Path) -> Iterator[int]:
    """The image's entrypoint in its own root, as its own user."""
    configuration = _unpacked(layout, root)
    execution = configuration.config
    assert execution is not None
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
    environment = dict(line.split("=", 1) for line in execution.env or ()) | {"PORT": str(port)}
    command = [
        CHROOT,
        f"--userspec={execution.user}",
        str(root),
        "/bin/sh",
        "-c",
        f'cd {execution.working_dir}; exec "$@"',
        "sh",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *(execution.entrypoint or [])], env=environment, stdout=output, stderr=output
        )
    try:
        _wait(port, process, log)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _unpacked(layout: Layout, root: Path) -> Configuration:
    image = layout.resolve("tests/hello", "latest")
    assert image is not None
    manifest = model.decode(layout.read(image.digest), Manifest, "manifest")
    for one in manifest.layers:
        with tarfile.open(layout.blob_path(one.digest)) as archive:
            archive.extractall(root, filter="tar")
    for name, minor in (("null", 3), ("urandom", 9)):
        os.mknod(root / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    return model.decode(layout.read(manifest.config.digest), Configuration, "configuration")


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"no answer on {port} in {DEADLINE} s: {log.read_text()}")


def _asked(port: int, body: bytes) -> object:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", body, {"content-type": "application/json"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
