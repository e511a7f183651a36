"""The pod specification, wherever it stands: in a Pod, in a Deployment's template, in a ReplicaSet's.

Law: pure; defaults are Kubernetes' own, and what is refused is what Kubernetes refuses and a user would run into. The
spec stays raw; nothing unknown is lost. Source: Kubernetes' core/v1 defaults and validation. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from funcs.errors import FieldError

from . import names
from .meta import Object, Objects

_ENV_NAME = re.compile(r"[ -<>-~]+")  # printable ASCII but "=", as since Kubernetes 1.30
_PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTARTS = ("Always", "OnFailure", "Never")
_FILE_MODE = 420  # 0644
_MODED = ("configMap", "secret", "projected", "downwardAPI")


def default(spec: Object) -> None:
    """Fill in what is absent, in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in [*_objects(spec, "containers"), *_objects(spec, "initContainers")]:
        _default_container(container)
    for volume in _objects(spec, "volumes"):
        for source in _MODED:
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", _FILE_MODE)


def default_pull_policy(image: object) -> str:
    """Always for `:latest` and for no tag at all; a digest or any other tag is pulled if it is not there."""
    name = str(image or "")
    if "@" in name:
        return "IfNotPresent"
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def problems(spec: Object, path: str = "spec") -> list[FieldError]:
    """Everything wrong with a pod spec."""
    containers = _objects(spec, "containers")
    found = [] if containers else [FieldError("Required value", f"{path}.containers")]
    volumes = [str(volume.get("name") or "") for volume in _objects(spec, "volumes")]
    found += _name_problems(volumes, f"{path}.volumes")
    for field in ("initContainers", "containers"):
        here = _objects(spec, field)
        for index, container in enumerate(here):
            found.extend(_container_problems(container, f"{path}.{field}[{index}]", set(volumes)))
    every = [str(container.get("name") or "") for container in [*_objects(spec, "initContainers"), *containers]]
    found += [
        problem for problem in _name_problems(every, f"{path}.containers") if problem.message.startswith("Duplicate")
    ]
    if spec.get("restartPolicy") not in (None, *_RESTARTS):
        found.append(_unsupported(f"{path}.restartPolicy", spec["restartPolicy"], _RESTARTS))
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        found.append(_negative(f"{path}.terminationGracePeriodSeconds", grace))
    return found


def is_same_but_for_images(old: Object, new: Object) -> bool:
    """Whether an update of a pod touches only what may be touched."""
    return _fixed(old) == _fixed(new)


def _fixed(spec: Object) -> Object:
    kept = {
        name: value
        for name, value in spec.items()
        if name not in ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "nodeName")
    }
    for field in ("containers", "initContainers"):
        kept[field] = [{**container, "image": ""} for container in _objects(spec, field)]
    return kept


def _default_container(container: Object) -> None:
    container.setdefault("imagePullPolicy", default_pull_policy(container.get("image")))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in _objects(container, "ports"):
        port.setdefault("protocol", "TCP")
    for name in _PROBES:
        if isinstance(container.get(name), dict):
            _default_probe(container[name])
    for variable in _objects(container, "env"):
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")


def _default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if isinstance(probe.get("httpGet"), dict):
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _container_problems(container: Object, path: str, volumes: set[str]) -> Iterator[FieldError]:
    name = str(container.get("name") or "")
    if not name:
        yield FieldError("Required value", f"{path}.name")
    elif not names.is_dns_label(name):
        yield FieldError(f'Invalid value: "{name[:64]}": {names_rule()}', f"{path}.name")
    image = container.get("image")
    if not image:
        yield FieldError("Required value", f"{path}.image")
    elif str(image) != str(image).strip():
        yield FieldError(f'Invalid value: "{image}": must not have leading or trailing whitespace', f"{path}.image")
    policy = container.get("imagePullPolicy")
    if policy not in (None, *_POLICIES):
        yield _unsupported(f"{path}.imagePullPolicy", policy, _POLICIES)
    yield from _port_problems(_objects(container, "ports"), f"{path}.ports")
    yield from _env_problems(_objects(container, "env"), f"{path}.env")
    yield from _mount_problems(_objects(container, "volumeMounts"), f"{path}.volumeMounts", volumes)


def _port_problems(ports: Objects, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        number, name = port.get("containerPort"), port.get("name")
        if number is None:
            yield FieldError("Required value", f"{path}[{index}].containerPort")
        elif not is_port(number):
            yield FieldError(f"Invalid value: {number}: must be between 1 and 65535, inclusive",
                             f"{path}[{index}].containerPort")  # fmt: skip
        if name and not _PORT_NAME.fullmatch(str(name)):
            yield FieldError(
                f'Invalid value: "{str(name)[:64]}": must be at most 15 lower case alphanumerics or "-", with a letter',
                f"{path}[{index}].name",
            )
        elif name and name in seen:
            yield FieldError(f'Duplicate value: "{name}"', f"{path}[{index}].name")
        seen.add(str(name))


def _env_problems(variables: Objects, path: str) -> Iterator[FieldError]:
    for index, variable in enumerate(variables):
        name = variable.get("name")
        if not name:
            yield FieldError("Required value", f"{path}[{index}].name")
        elif not _ENV_NAME.fullmatch(str(name)):
            yield FieldError(
                f'Invalid value: "{str(name)[:64]}": a variable\'s name is printable ASCII without "="',
                f"{path}[{index}].name",
            )
        if variable.get("value") and variable.get("valueFrom"):
            yield FieldError("Invalid value: \"\": may not be specified when `value` is not empty",
                             f"{path}[{index}].valueFrom")  # fmt: skip


def _mount_problems(mounts: Objects, path: str, volumes: set[str]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        name, place = str(mount.get("name") or ""), str(mount.get("mountPath") or "")
        if not name:
            yield FieldError("Required value", f"{path}[{index}].name")
        elif name not in volumes:
            yield FieldError(f'Not found: "{name}"', f"{path}[{index}].name")
        if not place:
            yield FieldError("Required value", f"{path}[{index}].mountPath")
        elif place in seen:
            yield FieldError(f'Invalid value: "{place}": must be unique', f"{path}[{index}].mountPath")
        inner = str(mount.get("subPath") or "")
        if inner.startswith("/") or ".." in inner.split("/"):
            yield FieldError(f'Invalid value: "{inner[:64]}": must be a relative path without ".."',
                             f"{path}[{index}].subPath")  # fmt: skip
        seen.add(place)


def _name_problems(found: list[str], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, name in enumerate(found):
        if not name:
            yield FieldError("Required value", f"{path}[{index}].name")
        elif not names.is_dns_label(name):
            yield FieldError(f'Invalid value: "{name[:64]}": {names_rule()}', f"{path}[{index}].name")
        elif name in seen:
            yield FieldError(f'Duplicate value: "{name}"', f"{path}[{index}].name")
        seen.add(name)


def is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def names_rule() -> str:
    return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and " \
        "end with an alphanumeric character"  # fmt: skip


def _objects(found: Object, field: str) -> Objects:
    items = found.get(field)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _unsupported(path: str, value: Any, supported: tuple[str, ...]) -> FieldError:
    shown = ", ".join(f'"{item}"' for item in supported)
    return FieldError(f'Unsupported value: "{str(value)[:64]}": supported values: {shown}', path)


def _negative(path: str, value: int) -> FieldError:
    return FieldError(f"Invalid value: {value}: must be greater than or equal to 0", path)
