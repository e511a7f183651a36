"""Registry credentials, found where docker and podman keep them.

Law: the order of files and of keys inside them is docker's (helper of the host, helper of all, `auths`); no
credentials is a valid answer; nothing found here is ever part of a message. IO: reads the configuration files,
runs `docker-credential-<name> get`; synchronous.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from funcs.errors import Invalid, Unauthorized

from .reference import DOCKER_HUB

_HELPER_SECONDS = 15
_LARGEST_FILE = 1024 * 1024
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and password, or (user empty) an identity token for the token endpoint, or a bearer token to use as is."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class _Entry(msgspec.Struct, rename={"identity_token": "identitytoken", "registry_token": "registrytoken"}):
    auth: str = ""
    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""


class _File(msgspec.Struct, rename="camel"):
    auths: dict[str, _Entry] = {}
    cred_helpers: dict[str, str] = {}
    creds_store: str = ""


class _Answer(msgspec.Struct, rename={"user": "Username", "secret": "Secret"}):
    user: str
    secret: str


class Credentials:
    """Looks credentials up by registry: those given by hand first, then the files in order."""

    def __init__(self, files: Iterable[Path] = (), given: Mapping[str, Credential] | None = None) -> None:
        self._files = tuple(files)
        self._given = dict(given or {})

    def find(self, registry: str, repository: str = "") -> Credential | None:
        """None is to go unnamed. Raises Invalid for a broken file, Unauthorized for a broken helper."""
        for key in _keys(registry, repository):
            if key in self._given:
                return self._given[key]
        for path in self._files:
            found = self._in_file(path, registry, repository)
            if found is not None:
                return found
        return None

    def _in_file(self, path: Path, registry: str, repository: str) -> Credential | None:
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST_FILE)
            config = msgspec.json.decode(data or b"{}", type=_File)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, ValueError) as error:
            raise Invalid(f"{path} cannot be read: {error}", hint=f"Repair or remove {path}.") from error
        for key in _keys(registry, repository):
            helper = config.cred_helpers.get(key) or (config.creds_store if key == _plain_key(registry) else "")
            found = _from_helper(helper, key) if helper else None
            if found is None and key in config.auths:
                found = _from_entry(config.auths[key], path)
            if found is not None:
                return found
        return None


def from_document(data: bytes, what: str) -> dict[str, Credential]:
    """The `auths` of a docker configuration, by their keys. Helpers it names are not run. Raises Invalid."""
    try:
        entries = msgspec.json.decode(data, type=_File).auths
    except (msgspec.MsgspecError, ValueError) as error:
        raise Invalid(f"{what} cannot be read: {error}") from error
    found = {key: _from_entry(entry, what) for key, entry in entries.items()}
    return {key: credential for key, credential in found.items() if credential is not None}


def default_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Where credentials are looked for, in order: REGISTRY_AUTH_FILE, podman's, DOCKER_CONFIG or ~/.docker."""
    files = [Path(environ["REGISTRY_AUTH_FILE"])] if environ.get("REGISTRY_AUTH_FILE") else []
    if environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    docker = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home / ".docker"
    return [*files, docker / "config.json"]


def _keys(registry: str, repository: str) -> list[str]:
    """Keys that may hold the credentials, most special first: podman keys by repository, docker by host or URL."""
    parts = repository.split("/") if repository else []
    narrow = [f"{registry}/{'/'.join(parts[:length])}" for length in range(len(parts), 0, -1)]
    hosts = [_plain_key(registry), registry]
    if registry == DOCKER_HUB:
        hosts += ["index.docker.io", "registry-1.docker.io"]
    return list(dict.fromkeys([*narrow, *hosts, *(f"{scheme}://{registry}{end}" for scheme in ("https", "http")
                                                  for end in ("", "/", "/v1/", "/v2/"))]))  # fmt: skip


def _plain_key(registry: str) -> str:
    return _HUB_KEY if registry == DOCKER_HUB else registry


def _from_entry(entry: _Entry, path: Path | str) -> Credential | None:
    if entry.identity_token:
        return Credential(identity_token=entry.identity_token)
    if entry.registry_token:
        return Credential(bearer=entry.registry_token)
    if not entry.auth:
        return Credential(entry.username, entry.password) if entry.username else None
    try:
        user, colon, password = base64.b64decode(entry.auth).decode().rstrip("\0").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise Invalid(f"an `auth` in {path} is not the base64 of user:password", hint="Log in to the registry again.")
    return Credential(user, password)


def _from_helper(helper: str, key: str) -> Credential | None:
    name = f"docker-credential-{helper}"
    program = shutil.which(name) if _HELPER_NAME.fullmatch(helper) else None
    if program is None:
        raise Unauthorized(f"the credential helper {name!r} is not on PATH", hint="Install it or remove its setting.")
    try:
        done = subprocess.run([program, "get"], input=key.encode(), capture_output=True, timeout=_HELPER_SECONDS)  # noqa: PLW1510
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unauthorized(f"the credential helper {name} gives no answer") from error
    if done.returncode != 0:
        if b"credentials not found" in done.stdout.lower():
            return None
        raise Unauthorized(f"the credential helper {name} failed with status {done.returncode}")
    try:
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except msgspec.MsgspecError as error:
        raise Unauthorized(f"the credential helper {name} does not answer as helpers do") from error
    if answer.user == "<token>":
        return Credential(identity_token=answer.secret)
    return Credential(answer.user, answer.secret)
