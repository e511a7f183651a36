"""The gateway's hop against nginx and against Go's httputil.ReverseProxy.

Each proxy has one core to itself and stands before the same nginx that answers `return 200`; wrk drives them in
alternating rounds, and the medians are compared. Ours is the shipped gateway (`gateway_process.py`), with limits,
metrics and statistics on. Budgets: at least twice Go's requests per second, and 0.8 of nginx's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .harness import Bench, Row, Skipped

HERE = Path(__file__).parent
HOST = "hello.default.localhost"
ROUNDS, SECONDS, CONNECTIONS = 3, 3, 64
GO_SOURCE = HERE / "reverse_proxy.go.txt"
BUDGETS = {"go": 2.0, "nginx": 0.8}

NGINX_PROXY = """
worker_processes 1; pid {pid}; error_log /dev/null; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {tmp}; proxy_temp_path {tmp};
  fastcgi_temp_path {tmp}; uwsgi_temp_path {tmp}; scgi_temp_path {tmp};
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000000;
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""
NGINX_BACKEND = """
worker_processes 1; pid {pid}; error_log /dev/null; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {tmp}; proxy_temp_path {tmp};
  fastcgi_temp_path {tmp}; uwsgi_temp_path {tmp}; scgi_temp_path {tmp};
  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000000; location / {{ return 200 "hello world"; }} }}
}}
"""


async def rows(bench: Bench) -> list[Row]:
    if not shutil.which("wrk") or not shutil.which("nginx"):
        raise Skipped("needs wrk and nginx")
    with tempfile.TemporaryDirectory() as scratch:
        rates = {name: rate for name, (rate, _) in measure(Path(scratch)).items()}
    ours = rates.pop("funcs")
    return [
        Row(name="gateway hop", peer=name, ours=ours, theirs=rate, budget=BUDGETS[name]) for name, rate in rates.items()
    ]


def measure(scratch: Path) -> dict[str, tuple[float, float]]:
    """(requests per second, p99 in ms) by proxy."""
    results: dict[str, list[tuple[float, float]]] = {}
    proxy_core, other_core = cores()
    with contextlib.ExitStack() as stack:
        backend = free_port()
        stack.enter_context(running(nginx(scratch / "backend", NGINX_BACKEND, backend), other_core))
        ports = {name: free_port() for name in ("funcs", "nginx", "go")}
        proxies = {
            "funcs": [sys.executable, str(HERE / "gateway_process.py"), str(ports["funcs"]), str(backend)],
            "nginx": nginx(scratch / "proxy", NGINX_PROXY, ports["nginx"], backend),
        }
        if shutil.which("go"):
            proxies["go"] = [str(built_go_proxy(scratch)), str(ports["go"]), str(backend)]
        else:
            print("gateway: no Go here, so no comparison with httputil.ReverseProxy")
        for name, command in proxies.items():
            stack.enter_context(running(command, proxy_core))
            wait_for(ports[name])
        for round_ in range(ROUNDS + 1):
            for name in proxies:
                figures = wrk(ports[name], other_core)
                if round_:  # the first warms up
                    results.setdefault(name, []).append(figures)
    return {
        name: (statistics.median(rate for rate, _ in found), statistics.median(p99 for _, p99 in found))
        for name, found in results.items()
    }


def wrk(port: int, core: int) -> tuple[float, float]:
    command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-H", f"Host: {HOST}"]
    done = subprocess.run(
        [*pinned(core), *command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    )
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", done.stdout)
    if errors:
        raise SystemExit(f"port {port}: {errors.group(0)}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])  # type: ignore[index]
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout).groups()  # type: ignore[union-attr]
    return rate, float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def nginx(directory: Path, template: str, port: int, backend: int = 0) -> list[str]:
    directory.mkdir()
    directory.chmod(0o777)
    conf = directory / "nginx.conf"
    conf.write_text(template.format(port=port, backend=backend, pid=directory / "pid", tmp=directory))
    return ["nginx", "-c", str(conf), "-p", str(directory)]


def built_go_proxy(scratch: Path) -> Path:
    source, program = scratch / "go-proxy.go", scratch / "go-proxy"
    source.write_text(GO_SOURCE.read_text())
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOCACHE": str(scratch / "go-cache")}
    subprocess.run(["go", "build", "-o", str(program), str(source)], check=True, env=environment)
    return program


@contextlib.contextmanager
def running(command: list[str], core: int) -> Iterator[None]:
    environment = {**os.environ, "GOMAXPROCS": "1", "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen([*pinned(core), *command], env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def cores() -> tuple[int, int]:
    """(the proxy's, everybody else's)."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")
