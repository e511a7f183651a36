"""What the environment says. Law: read once, at the start of the process, from a mapping; every mistake is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from funcs.errors import Invalid
from funcs.sdk.logger import LEVELS

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    handler: str = ""
    """`module:attribute`; empty: `func.py` or the package `function`, exporting `handle`."""
    address: str = "0.0.0.0"
    port: int = 8080
    sockets: int = 0
    """Listening sockets inherited, from descriptor 3 on, as systemd does it; then address and port do not count."""
    threads: int = 16
    inline: bool = False
    """Run handlers that are not async on the event loop."""
    timeout: float | None = None
    """Seconds that one invocation may take."""
    body: int = 64 * 1024 * 1024
    """Bytes of a request's body."""
    grace: float = 25.0
    """Seconds for what is in flight after SIGTERM; shorter than the platform's own patience (30 s)."""
    level: int = 20
    service: str = ""
    revision: str = ""
    namespace: str = ""
    sink: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


def from_environment(env: Mapping[str, str], pid: int) -> Settings:
    """Raises Invalid, naming the variable."""
    address, port = env.get("ADDRESS", "") or "0.0.0.0", _number(env, "PORT", 8080, int)
    listen = env.get("LISTEN_ADDRESS", "")
    if listen:
        host, _, text = listen.rpartition(":")
        address, port = host.strip("[]") or "0.0.0.0", _read("LISTEN_ADDRESS", text, int)
    inherited = _number(env, "LISTEN_FDS", 0, int)
    if env.get("LISTEN_PID", str(pid)) != str(pid):
        inherited = 0
    if not 0 <= port <= 65535:
        raise Invalid(f"PORT is {port}, which is no port", reason="InvalidEnvironment")
    return Settings(
        handler=env.get("FUNCS_HANDLER", ""),
        address=address,
        port=port,
        sockets=inherited,
        threads=_number(env, "FUNCS_THREADS", 16, int),
        inline=env.get("FUNCS_INLINE", "").lower() in {"1", "true", "yes"},
        timeout=_number(env, "FUNCS_TIMEOUT", 0.0, float) or None,
        body=_number(env, "FUNCS_MAX_BODY", 64 * 1024 * 1024, int),
        grace=_number(env, "FUNCS_GRACE", 25.0, float),
        level=_level(env),
        service=env.get("K_SERVICE", ""),
        revision=env.get("K_REVISION", ""),
        namespace=env.get("FUNCS_NAMESPACE", ""),
        sink=env.get("K_SINK", "") or env.get("FUNCS_BROKER", ""),
        config=_config(env),
    )


def _number(env: Mapping[str, str], name: str, default: T, kind: Callable[[str], T]) -> T:
    text = env.get(name, "")
    return _read(name, text, kind) if text else default


def _read(name: str, text: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(text)
    except ValueError:
        raise Invalid(f"{name} is {text!r}, which is no number", reason="InvalidEnvironment") from None


def _level(env: Mapping[str, str]) -> int:
    name = env.get("FUNCS_LOG_LEVEL", "").lower() or "info"
    if name not in LEVELS:
        raise Invalid(f"FUNCS_LOG_LEVEL is {name!r}, not one of {', '.join(LEVELS)}", reason="InvalidEnvironment")
    return LEVELS[name]


def _config(env: Mapping[str, str]) -> Mapping[str, Any]:
    text = env.get("FUNCS_CONFIG", "")
    try:
        value = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError as error:
        raise Invalid(f"FUNCS_CONFIG is not JSON: {error}", reason="InvalidEnvironment") from None
    if not isinstance(value, dict):
        raise Invalid("FUNCS_CONFIG is not a JSON object", reason="InvalidEnvironment")
    return value
