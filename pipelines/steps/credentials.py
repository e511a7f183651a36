"""Credentials of a service account for git and registries: which secrets a step gets, and the files they become.

Law: only secrets of the account's own list, of a known type, annotated with the host they are for (docker's own files
need none); nothing of a secret's content is in a pod. `files` is for whoever plays the entrypoint, which puts them
under /tekton/creds and then into $HOME. Source: Tekton's pkg/credentials. No IO.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

from funcs.api import meta
from funcs.api.meta import Object

from .entrypoint import Credential

Secrets = Mapping[str, Mapping[str, bytes]]
"""By secret, its files' contents."""

_DOCKER_HUB = "https://index.docker.io/v1/"


def found(secrets: Iterable[Object]) -> list[Credential]:
    """What the secrets of a service account are good for."""
    return [credential for secret in secrets for credential in _of(secret)]


def _of(secret: Object) -> list[Credential]:
    name, kind = meta.name(secret), secret.get("type")
    if kind == "kubernetes.io/dockerconfigjson":
        return [Credential("docker-config", name)]
    if kind == "kubernetes.io/dockercfg":
        return [Credential("docker-cfg", name)]
    if kind != "kubernetes.io/basic-auth":
        return []
    annotated = sorted(meta.annotations(secret).items())
    git = [Credential("basic-git", name, url) for key, url in annotated if key.startswith("tekton.dev/git-")]
    docker = [Credential("basic-docker", name, url) for key, url in annotated if key.startswith("tekton.dev/docker-")]
    return git + docker


def files(credentials: Iterable[Credential], secrets: Secrets) -> dict[str, bytes]:
    """By path relative to the home directory, what to write there (mode 0600). Missing secrets are passed over."""
    listed = [credential for credential in credentials if credential.secret in secrets]
    return {**_git([found for found in listed if found.kind == "basic-git"], secrets), **_docker(listed, secrets)}


def _git(listed: list[Credential], secrets: Secrets) -> dict[str, bytes]:
    if not listed:
        return {}
    config, store = "[credential]\n\thelper = store\n", ""
    for credential in sorted(listed, key=lambda found: len(urlsplit(found.url).path)):
        user, password = _login(secrets[credential.secret])
        url = urlsplit(credential.url)
        config += f'[credential "{_line(credential.url)}"]\n\tusername = {_line(user)}\n'
        if url.path.strip("/"):
            config += "\tuseHttpPath = true\n"
        store += f"{url.scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{_line(url.netloc + url.path)}\n"
    return {".gitconfig": config.encode(), ".git-credentials": store.encode()}


def _docker(listed: list[Credential], secrets: Secrets) -> dict[str, bytes]:
    auths: dict[str, Object] = {}
    for credential in listed:
        data = secrets[credential.secret]
        if credential.kind == "basic-docker":
            user, password = _login(data)
            host = _DOCKER_HUB if credential.url in ("https://docker.io", "docker.io") else credential.url
            auths[host] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        elif credential.kind == "docker-cfg":
            auths.update(_mapping(data.get(".dockercfg", b"{}")))
        elif credential.kind == "docker-config":
            found = _mapping(data.get(".dockerconfigjson", b"{}")).get("auths")
            auths.update(found if isinstance(found, dict) else {})
    return {".docker/config.json": json.dumps({"auths": auths}).encode()} if auths else {}


def _login(data: Mapping[str, bytes]) -> tuple[str, str]:
    return data.get("username", b"").decode().strip("\r\n"), data.get("password", b"").decode().strip("\r\n")


def _mapping(data: bytes) -> Object:
    try:
        parsed = json.loads(data)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _line(text: str) -> str:
    """One line of git's configuration: a value may not begin another."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "").replace("\r", "")
