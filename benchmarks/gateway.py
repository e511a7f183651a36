"""The gateway's hop against nginx and against Go's httputil.ReverseProxy.

Each proxy has one core to itself and stands before the same nginx that answers `return 200`. What a hop costs is the
processor time of the proxy alone for each request, the inverse of its rate per core: comparable however busy the other
core is. Ours is the shipped gateway (`gateway_process.py`), limits, metrics, breaker, timeouts on; nginx is a reverse
proxy that keeps its connections, and tells the pod as much about who asked as ours does.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .harness import ROOT, Bench, Contestant, Load, Row, Skipped, free_port

PEERS = Path(__file__).parent / "peers"
HOST = "hello.default.localhost"
NGINX = """
worker_processes 1; pid {home}/pid; error_log {home}/error.log; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {home}; proxy_temp_path {home};
  fastcgi_temp_path {home}; uwsgi_temp_path {home}; scgi_temp_path {home};
  {http}
}}
"""
PROXY = """
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000000;
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Forwarded "for=$remote_addr;host=$host;proto=$scheme";
      proxy_set_header X-Request-Id $request_id;
    }}
  }}
"""
BACKEND = """
  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000000; location / {{ return 200 "hello world"; }} }}
"""


async def rows(bench: Bench) -> list[Row]:
    if shutil.which("nginx", path=_SBIN) is None:
        raise Skipped("nginx is not installed")
    backend = nginx(bench, "gateway backend", BACKEND)
    with bench.running(backend, bench.cores[1]):
        figures = bench.measure(proxies(bench, backend.port), Load(host=HOST))
    ours, found = figures["funcs gateway"], []
    for name, peer, budget in (("nginx proxy", "nginx", 0.8), ("go proxy", "Go ReverseProxy", 2.0)):
        if name not in figures:
            continue
        cost, rate = figures[name].cost, figures[name].rate
        found += [
            Row(name="gateway hop", peer=peer, ours=ours.cost, theirs=cost, unit="µs CPU", budget=budget, less_is=True),
            Row(name="gateway hop", peer=peer, ours=ours.rate, theirs=rate),
        ]
    return found


def proxies(bench: Bench, backend: int) -> list[Contestant]:
    command = [sys.executable, "-m", "benchmarks.gateway_process", "{port}", str(backend)]
    found = [Contestant(name="funcs gateway", command=command), nginx(bench, "nginx proxy", PROXY, backend)]
    try:
        program = bench.go(PEERS / "reverse_proxy.go.txt")
    except Skipped as skipped:
        print(f"gateway: without Go's ReverseProxy: {skipped}")
    else:
        arguments = [str(program), "{port}", str(backend)]
        found.append(Contestant(name="go proxy", command=arguments, env={"GOMAXPROCS": "1"}))
    return found


def nginx(bench: Bench, name: str, http: str, backend: int = 0) -> Contestant:
    home = bench.cache / name.replace(" ", "-")
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o777)
    port = free_port()
    (home / "nginx.conf").write_text(NGINX.format(home=home, http=http.format(port=port, backend=backend)))
    program = shutil.which("nginx", path=_SBIN) or "nginx"
    return Contestant(
        name=name, command=[program, "-c", str(home / "nginx.conf"), "-p", str(home)], cwd=ROOT, port=port
    )


_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
