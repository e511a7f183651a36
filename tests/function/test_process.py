"""The process: start, refusal to start, drain."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from runtimes.http.client import Pool

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
AT_3 = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execv(sys.executable, [sys.executable, "-m", os.environ.get("MODULE", "runtimes.function")])
"""
GET = (b"GET", b"/", ((b"host", b"x"),))


@asynccontextmanager
async def process(
    directory: Path, **env: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, tuple[str, int], Pool]]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as sock:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", AT_3, str(sock.fileno())),
            cwd=directory,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LISTEN_FDS": "1", **env},
            pass_fds=[sock.fileno()],
            stderr=subprocess.PIPE,
        )
        pool = Pool()
        try:
            yield child, sock.getsockname(), pool
        finally:
            await pool.close()
            if child.returncode is None:
                child.kill()
            await child.communicate()


def write(directory: Path, code: str, name: str = "func.py") -> Path:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(code)
    return directory


async def finished(child: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(PATIENCE):
        _, stderr = await child.communicate()
    assert child.returncode is not None
    return child.returncode, stderr.decode()


SLOW = """
import asyncio, pathlib

async def init(ctx):
    ctx.user_data["log"] = pathlib.Path("log")

async def shutdown(ctx):
    with ctx.user_data["log"].open("a") as log:
        log.write("shutdown\\n")

async def later(ctx):
    await asyncio.sleep(0.2)
    with ctx.user_data["log"].open("a") as log:
        log.write("background\\n")

async def handle(ctx, event):
    ctx.background(later(ctx))
    pathlib.Path("begun").touch()
    await asyncio.sleep(0.2)
    return "done"
"""


async def test_sigterm_finishes_what_is_in_flight_then_background_tasks_then_shutdown(tmp_path: Path) -> None:
    async with process(write(tmp_path, SLOW)) as (child, address, pool):
        requests = [asyncio.create_task(pool.request(address, *GET)) for _ in range(20)]
        async with asyncio.timeout(PATIENCE):
            while not (tmp_path / "begun").exists():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        answers = [await request for request in requests]
        assert {await answer.read() for answer in answers} == {b"done"}
        assert (await finished(child))[0] == 0
    assert (tmp_path / "log").read_text() == "background\n" * 20 + "shutdown\n"


async def test_a_second_signal_kills(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib\nasync def handle():\n    pathlib.Path('begun').touch()\n    await asyncio.sleep(60)\n"
    )
    async with process(write(tmp_path, code)) as (child, address, pool):
        request = asyncio.create_task(pool.request(address, *GET))
        async with asyncio.timeout(PATIENCE):
            while not (tmp_path / "begun").exists():
                await asyncio.sleep(0.01)
            child.send_signal(signal.SIGTERM)
            while child.returncode is None:
                child.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.05)
        assert child.returncode == -signal.SIGTERM
        await asyncio.gather(request, return_exceptions=True)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param("import nosuchpackage\n", ["func.py:1", "nosuchpackage", "requirements.txt"], id="import"),
        pytest.param("x = 1\n\nx = 1 / 0\n", ["func.py:3", "ZeroDivisionError"], id="exception"),
        pytest.param("def handle(:\n", ["func.py:1", "SyntaxError"], id="syntax"),
        pytest.param("x = 1\n", ["func.py", "has no 'handle'"], id="no handler"),
        pytest.param("handle = 7\n", ["is a int"], id="not callable"),
        pytest.param("def handle(a, b, c): ...\n", ["cannot be called"], id="signature"),
    ],
)
async def test_code_that_cannot_be_loaded_is_one_clear_error_and_exit_status_78(
    tmp_path: Path, code: str, words: list[str]
) -> None:
    async with process(write(tmp_path, code)) as (child, address, pool):
        answer = await pool.request(address, b"GET", b"/health/readiness", GET[2])
        reason = (await answer.read()).decode()
        status, stderr = await finished(child)
    assert (answer.status, status) == (503, 78)
    assert all(word in stderr for word in words)
    assert "Traceback" not in stderr
    assert any(word in reason for word in words)


async def test_a_failing_init_is_said_and_is_exit_status_70(tmp_path: Path) -> None:
    code = "async def init(ctx):\n    raise OSError('no database')\ndef handle(): ...\n"
    async with process(write(tmp_path, code)) as (child, _, _pool):
        status, stderr = await finished(child)
    assert status == 70
    assert "no database" in stderr


async def test_a_package_named_function_and_another_handler_are_found(tmp_path: Path) -> None:
    write(
        tmp_path, "class App:\n    async def handle(self, event):\n        return 'package'\n", "function/__init__.py"
    )
    async with process(tmp_path, FUNCS_HANDLER="function:App") as (child, address, pool):
        assert await (await pool.request(address, *GET)).read() == b"package"
        child.send_signal(signal.SIGTERM)
        assert (await finished(child))[0] == 0


@pytest.mark.parametrize(
    ("env", "word"), [({"LISTEN_FDS": "", "PORT": "eighty"}, "PORT"), ({"FUNCS_CONFIG": "{"}, "FUNCS_CONFIG")]
)
async def test_a_wrong_environment_is_named(tmp_path: Path, env: dict[str, str], word: str) -> None:
    async with process(tmp_path, **env) as (child, _, _pool):
        status, stderr = await finished(child)
    assert status == 78
    assert word in stderr


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {"LISTEN_FDS": "", "ADDRESS": "127.0.0.1", "PORT": port}
        async with process(write(tmp_path, "def handle(): ...\n"), **env) as (child, _, _pool):
            status, stderr = await finished(child)
    assert status == 78
    assert f"port {port}" in stderr


async def test_it_runs_shipped_inside_funcs_and_leaves_the_authors_own_names_alone(tmp_path: Path) -> None:
    site, code = tmp_path / "site", tmp_path / "code"
    for part in ("__init__.py", "errors.py", "version.py"):
        (site / "funcs").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "funcs" / part, site / "funcs" / part)
    shutil.copytree(ROOT / "funcs/sdk", site / "funcs/sdk")
    for part in ("http", "function"):
        shutil.copytree(ROOT / "runtimes" / part, site / "funcs/_runtime" / part)
    write(code, "NAME = 'the author’s'\n", "runtimes.py")
    write(code, "import runtimes\nfrom funcs import Event\n\ndef handle():\n    return runtimes.NAME\n")
    packages = str(Path(msgspec.__file__).parents[1])
    env = {"PYTHONPATH": f"{site}:{packages}", "MODULE": "funcs._runtime.function"}
    async with process(code, **env) as (child, address, pool):
        assert await (await pool.request(address, *GET)).read() == "the author’s".encode()
        child.send_signal(signal.SIGTERM)
        assert (await finished(child))[0] == 0
