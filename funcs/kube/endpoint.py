"""Where an API is and how to be known to it: a kubeconfig, or a pod's service account.

Law: tokens, certificates and passwords that stand in files are read here; whatever needs a plug-in (exec, OIDC, cloud
providers, proxies) goes to the official `kubernetes` package, which is imported only then, for it takes long to. Paths
and addresses are arguments. The IO is reading those files.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from funcs.errors import BadRequest, NotFound

# (fresh) -> the Authorization header, "" for none; `fresh` after the server refused the last one.
Authorize = Callable[[bool], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    server: str
    tls: ssl.SSLContext | None = field(repr=False)
    authorize: Authorize = field(repr=False)
    server_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"


async def from_kubeconfig(path: Path, context: str | None = None) -> Endpoint:
    """The endpoint that a kubeconfig names. Raises BadRequest, NotFound."""
    config = _read(path)
    chosen = context or config.get("current-context")
    if not isinstance(chosen, str) or not chosen:
        raise BadRequest(f"{path} names no current-context", hint="Run `kubectl config use-context`.")
    bound = _named(config, "contexts", "context", chosen, path)
    cluster = _named(config, "clusters", "cluster", str(bound.get("cluster")), path)
    user = _named(config, "users", "user", str(bound["user"]), path) if bound.get("user") else {}
    if "exec" in user or "auth-provider" in user or "proxy-url" in cluster:
        from .plugins import plugged_in

        return await plugged_in(path, chosen, str(bound.get("namespace") or "default"))
    server = str(cluster.get("server") or "").rstrip("/")
    return Endpoint(
        server=server,
        tls=_tls(cluster, user, path) if server.startswith("https") else None,
        authorize=_authorize(user, path),
        server_name=cluster.get("tls-server-name"),
        namespace=str(bound.get("namespace") or "default"),
    )


def in_cluster(directory: Path, host: str, port: str) -> Endpoint:
    """The endpoint of the cluster that a pod runs in; `directory` holds `token`, `ca.crt` and `namespace`. The token is
    read again each time, for it is renewed. Raises NotFound."""
    if not (directory / "token").is_file() or not (directory / "ca.crt").is_file():
        raise NotFound(f"there is no service account in {directory}", hint="Give a kubeconfig, or run in a pod.")
    namespace = directory / "namespace"
    bracketed = f"[{host}]" if ":" in host else host
    return Endpoint(
        server=f"https://{bracketed}:{port}",
        tls=ssl.create_default_context(cafile=str(directory / "ca.crt")),
        authorize=_from_file(directory / "token"),
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
    )


def to_server(server: str, *, token: str = "", authority: str | None = None) -> Endpoint:
    """An endpoint known by address; `authority` is the certificate authority in PEM."""
    tls = ssl.create_default_context(cadata=authority) if server.startswith("https") else None
    return Endpoint(server=server.rstrip("/"), tls=tls, authorize=_constant(f"Bearer {token}" if token else ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except FileNotFoundError as error:
        raise NotFound(f"there is no kubeconfig {path}", hint="Start a cluster with `funcs up`.") from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} is not a kubeconfig: {error}") from error
    if not isinstance(config, dict):
        raise BadRequest(f"{path} is not a kubeconfig: it holds no mapping")
    return config


def _named(config: dict[str, Any], group: str, part: str, name: str, path: Path) -> dict[str, Any]:
    for entry in config.get(group) or []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(part), dict):
            found: dict[str, Any] = entry[part]
            return found
    raise BadRequest(f'{path}: there is no {part} "{name}" in {group}')


def _tls(cluster: dict[str, Any], user: dict[str, Any], path: Path) -> ssl.SSLContext:
    authority = _content(cluster, "certificate-authority", path)
    certificate, key = _content(user, "client-certificate", path), _content(user, "client-key", path)
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate and key:
            with tempfile.TemporaryDirectory() as directory:  # OpenSSL reads them from files only
                both = Path(directory, "both.pem")
                both.touch(mode=0o600)
                both.write_bytes(certificate + b"\n" + key)
                context.load_cert_chain(both)
    except (ssl.SSLError, ValueError) as error:
        raise BadRequest(f"{path}: the certificates cannot be used: {error}") from error
    return context


def _content(entry: dict[str, Any], name: str, path: Path) -> bytes:
    """The PEM in `name-data`, or in the file that `name` names."""
    data, file = entry.get(f"{name}-data"), entry.get(name)
    try:
        if data:
            return base64.b64decode(data, validate=True)
        return (path.parent / file).read_bytes() if file else b""
    except (binascii.Error, TypeError, OSError) as error:
        raise BadRequest(f"{path}: {name}: {error}") from error


def _authorize(user: dict[str, Any], path: Path) -> Authorize:
    if user.get("tokenFile"):
        return _from_file(path.parent / str(user["tokenFile"]))
    if user.get("token"):
        return _constant(f"Bearer {user['token']}")
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        return _constant("Basic " + base64.b64encode(pair.encode()).decode())
    return _constant("")


def _constant(header: str) -> Authorize:
    async def authorize(fresh: bool) -> str:
        return header

    return authorize


def _from_file(token: Path) -> Authorize:
    def read() -> str:
        return f"Bearer {token.read_text().strip()}"

    async def authorize(fresh: bool) -> str:
        return read()

    return authorize
