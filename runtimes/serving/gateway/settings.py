"""Settings of a gateway. Times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """`local_suffixes` are what a cluster-local host may end with after `<name>.<namespace>`."""

    domain: str = "localhost"
    local_suffixes: tuple[str, ...] = (".svc.cluster.local", ".svc", "")
    name: str = "gateway"
    head: int = 64 * 1024
    fields: int = 128
    body: int = 1 << 30
    unsent: int = 256 * 1024
    """How much of a body is held while the request waits for a pod."""
    connections: int = 16_384
    head_timeout: float = 10.0
    idle_timeout: float = 90.0
    connect_timeout: float = 3.0
    upstream_idle: float = 4.0
    """Shorter than the keep-alive of any server that people run (uvicorn: 5)."""
    drain_timeout: float = 30.0
    backlog: int = 4096
    forget: float = 120.0
    """A revision that nobody asks for costs no state after so long."""
    request_log: bool = False
