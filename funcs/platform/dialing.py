"""Where a URL's host is reached on this machine: names that only the gateway knows are dialled there.

Law: `*.localhost` does not resolve in every resolver and `*.svc.cluster.local` in none, so neither is ever looked up;
the Host header keeps the name. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass

_LOOPBACK = "127.0.0.1"
_BY_GATEWAY = (".localhost", ".svc", ".svc.cluster.local")


@dataclass(frozen=True, slots=True)
class Dialing:
    """Called with a URL's host and port; the answer is where to connect. `gateway` is its port."""

    gateway: int

    def __call__(self, host: str, port: int) -> tuple[str, int]:
        name = host.rstrip(".").lower()
        if name == "localhost":
            return _LOOPBACK, port
        if name.endswith(_BY_GATEWAY):
            return _LOOPBACK, self.gateway
        return host, port
