"""A pod's volumes as directories of the host, and a container's mounts as binds of them.

Law: nothing that a pod names leads outside its volume: keys, items and subPaths are checked component by component, and
a subPath is followed through no symlink that leaves. Files are what they were when the pod was prepared: a changed
ConfigMap or Secret is not brought into running pods, and a service account's token is not renewed there.
IO: `pods/<uid>/volumes`, `volumes/<namespace>/<claim>`, Client.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import Client
from funcs.errors import Conflict, NotFound

from .environment import Facts, data_of, expand, pod_field, resource_field
from .runtime import Bind, CannotRun

SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_VOLUME = "funcs-api-access"  # noqa: S105
_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3607


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume as it is on this machine. `kind` is the name of its source in the pod's spec."""

    path: Path
    kind: str
    memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`certificate_authority` is what pods need to trust the API server, as PEM."""

    pod: Path
    claims: Path
    certificate_authority: str = ""


class FailedMount(CannotRun):
    """A volume cannot be set up yet."""

    default_reason = "ContainerCreating"


async def make_volumes(client: Client, facts: Facts, places: Places) -> dict[str, Volume]:
    """Every volume of the pod, by name. Raises FailedMount, CannotRun."""
    made = {}
    for volume in [*(meta.spec(facts.pod).get("volumes") or []), *_token_volume(facts.pod)]:
        made[volume["name"]] = await _Maker(client, facts, places, volume).make()
    return made


def mounts_of(container: Object, pod: Object) -> list[Object]:
    """The volumeMounts, with the API token's if the pod asks for it."""
    mounts: list[Object] = list(container.get("volumeMounts") or [])
    if _token_volume(pod) and not any(each["mountPath"] == SERVICE_ACCOUNT_DIRECTORY for each in mounts):
        mounts.append({"name": _TOKEN_VOLUME, "mountPath": SERVICE_ACCOUNT_DIRECTORY, "readOnly": True})
    return mounts


def binds(container: Object, facts: Facts, volumes: Mapping[str, Volume], env: Mapping[str, str]) -> tuple[Bind, ...]:
    """Raises CannotRun for a mount of nothing or a subPath that leaves its volume."""
    found = []
    for mount in mounts_of(container, facts.pod):
        volume = volumes.get(mount["name"])
        if volume is None:
            raise CannotRun(
                f"container {container['name']} mounts volume {mount['name']!r}, which the pod does not have"
            )
        sub_path = expand(mount["subPathExpr"], env) if mount.get("subPathExpr") else mount.get("subPath") or ""
        source = _below(volume, sub_path) if sub_path else volume.path
        read_only = bool(mount.get("readOnly")) or volume.kind in ("configMap", "secret", "projected", "downwardAPI")
        found.append(Bind(source, str(PurePosixPath("/") / mount["mountPath"]), read_only, volume.kind))
    return tuple(sorted(found, key=lambda bind: bind.path.count("/")))


def host_path(path: str, binds: tuple[Bind, ...]) -> Path | None:
    """Where a path of the container is on the host, if a volume holds it."""
    wanted = PurePosixPath(path)
    for bind in sorted(binds, key=lambda bind: len(bind.path), reverse=True):
        if wanted.is_relative_to(bind.path):
            return bind.source / wanted.relative_to(bind.path)
    return None


def _below(volume: Volume, sub_path: str) -> Path:
    parts = PurePosixPath(sub_path).parts
    if sub_path.startswith("/") or ".." in parts:
        raise CannotRun(f"subPath {sub_path!r} must be relative and must not contain '..'")
    if volume.memory:
        raise CannotRun("subPath of an emptyDir of medium Memory is not supported")
    root = volume.path.resolve()
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise CannotRun(f"subPath {sub_path!r} leaves its volume through a symlink")
        if not path.exists():
            path.mkdir(mode=0o777)
            path.chmod(0o777)
    return path.resolve()


def _token_volume(pod: Object) -> list[Object]:
    """Only a pod that says `automountServiceAccountToken: true` is given a token unasked."""
    if meta.spec(pod).get("automountServiceAccountToken") is not True:
        return []
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
        {"funcsCertificateAuthority": {"path": "ca.crt"}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return [{"name": _TOKEN_VOLUME, "projected": {"sources": sources}}]


class _Maker:
    def __init__(self, client: Client, facts: Facts, places: Places, volume: Object) -> None:
        self._client, self._facts, self._places, self._volume = client, facts, places, volume
        self._name = str(volume["name"])

    async def make(self) -> Volume:
        source = {key: value for key, value in self._volume.items() if key != "name"} or {"emptyDir": {}}
        kind, settings = next(iter(source.items()))
        settings = settings or {}
        if kind == "emptyDir":
            path = self._own_directory()
            path.chmod(0o777)
            return Volume(path, kind, settings.get("medium") == "Memory")
        if kind == "hostPath":
            return Volume(self._host_path(settings), kind)
        if kind == "persistentVolumeClaim":
            return Volume(await self._claim(settings["claimName"]), kind)
        if kind not in ("configMap", "secret", "projected", "downwardAPI"):
            raise CannotRun(f"volume {self._name}: source {kind} is not supported")
        files = await self._projected(settings) if kind == "projected" else await self._files(kind, settings)
        path = self._own_directory()
        default = int(settings.get("defaultMode", _DEFAULT_MODE))
        _write_files(path, files, default, _group(self._facts.pod))
        return Volume(path, kind)

    def _own_directory(self) -> Path:
        path = self._places.pod / "volumes" / self._name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _host_path(self, settings: Object) -> Path:
        path, wanted = Path(settings["path"]), settings.get("type") or ""
        if wanted == "DirectoryOrCreate":
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        elif wanted == "FileOrCreate" and not path.exists():
            path.touch(mode=0o644)
        right = {"Directory": path.is_dir, "File": path.is_file, "Socket": path.is_socket}.get(wanted, path.exists)
        if not right():
            raise FailedMount(f"hostPath type check failed: {path} is not a {wanted or 'path'}")
        return path

    async def _claim(self, name: str) -> Path:
        namespace = meta.namespace(self._facts.pod)
        try:
            claim = await self._client.get(core.PERSISTENT_VOLUME_CLAIM, name, namespace)
        except NotFound:
            raise FailedMount(f'persistentvolumeclaim "{name}" not found') from None
        path = self._places.claims / namespace / name
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(0o777)
        if meta.status(claim).get("phase") != "Bound":
            spec = meta.spec(claim)
            bound = {
                "phase": "Bound",
                "accessModes": spec.get("accessModes") or [],
                "capacity": (spec.get("resources") or {}).get("requests") or {},
            }
            await self._client.patch_status(core.PERSISTENT_VOLUME_CLAIM, name, bound, namespace)
        return path

    async def _projected(self, settings: Object) -> dict[str, tuple[bytes, int | None]]:
        files: dict[str, tuple[bytes, int | None]] = {}
        for source in settings.get("sources") or []:
            kind, part = next(iter(source.items()))
            if kind == "serviceAccountToken":
                files[_checked(part["path"])] = (
                    await self._token(part),
                    0o644 if _group(self._facts.pod) is None else 0o640,
                )
            elif kind == "funcsCertificateAuthority":
                files[_checked(part["path"])] = (self._places.certificate_authority.encode(), None)
            elif kind in ("configMap", "secret", "downwardAPI"):
                files |= await self._files(kind, part)
            else:
                raise CannotRun(f"volume {self._name}: projected source {kind} is not supported")
        return files

    async def _token(self, part: Object) -> bytes:
        pod = self._facts.pod
        spec: Object = {
            "expirationSeconds": int(part.get("expirationSeconds") or 3600),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name(pod), "uid": meta.uid(pod)},
        }
        if part.get("audience"):
            spec["audiences"] = [part["audience"]]
        account = meta.spec(pod).get("serviceAccountName") or "default"
        try:
            answer = await self._client.subresource(
                core.SERVICE_ACCOUNT, account, "token", {"spec": spec}, meta.namespace(pod)
            )
        except (NotFound, Conflict) as error:
            raise FailedMount(f"no token for serviceaccount {account}: {error}") from error
        return str(meta.status(answer)["token"]).encode()

    async def _files(self, kind: str, settings: Object) -> dict[str, tuple[bytes, int | None]]:
        if kind == "downwardAPI":
            return {
                _checked(item["path"]): (self._downward(item), item.get("mode")) for item in settings.get("items") or []
            }
        resource = core.SECRET if kind == "secret" else core.CONFIG_MAP
        name = str(settings.get("name") or settings.get("secretName"))
        try:
            found = await self._client.get(resource, name, meta.namespace(self._facts.pod))
        except NotFound:
            if settings.get("optional"):
                return {}
            raise FailedMount(
                f'MountVolume.SetUp failed for volume "{self._name}": {resource.plural} "{name}" not found'
            ) from None
        data = data_of(resource.kind, found)
        if not settings.get("items"):
            return {_checked(key): (value, None) for key, value in data.items()}
        return self._items(settings, data, name)

    def _items(self, settings: Object, data: Mapping[str, bytes], name: str) -> dict[str, tuple[bytes, int | None]]:
        files = {}
        for item in settings["items"]:
            if item["key"] in data:
                files[_checked(item["path"])] = (data[item["key"]], item.get("mode"))
            elif not settings.get("optional"):
                raise FailedMount(f"references non-existent key {item['key']!r} of {name!r}")
        return files

    def _downward(self, item: Object) -> bytes:
        if "fieldRef" in item:
            return pod_field(item["fieldRef"]["fieldPath"], self._facts).encode()
        all_containers = meta.spec(self._facts.pod).get("containers") or []
        return resource_field(item["resourceFieldRef"], all_containers, {}, self._facts).encode()


def _checked(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise CannotRun(f"path {path!r} leaves its volume")
    return path


def _group(pod: Object) -> int | None:
    group = (meta.spec(pod).get("securityContext") or {}).get("fsGroup")
    return None if group is None or os.geteuid() != 0 else int(group)


def _write_files(root: Path, files: Mapping[str, tuple[bytes, int | None]], default: int, group: int | None) -> None:
    """All files anew: a node that comes back may find an older set."""
    for child in root.iterdir():
        shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    for name, (content, mode) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod((default if mode is None else int(mode)) | (0o440 if group is not None else 0))
