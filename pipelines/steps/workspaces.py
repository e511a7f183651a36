"""Workspaces of a TaskRun: bindings become volumes, declarations become mounts and variables.

Law: names are deterministic; one claim bound twice is one volume; a workspace that any step lists is mounted only
where it is listed. Source: Tekton's pkg/workspace/apply.go, pkg/reconciler/volumeclaim. No IO.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from funcs.api import meta, names
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.api.pipeline_views import WorkspaceBinding, WorkspaceDeclaration
from pipelines.language.substitution import Replacements

Volumes = Mapping[str, Object]
"""By workspace, the pod volume that it is."""


def claim_name(binding: Object, owner: Object) -> str:
    """The name of the PersistentVolumeClaim made from a volumeClaimTemplate, for this owner."""
    prefix = meta.name(binding.get("volumeClaimTemplate") or {}) or "pvc"
    digest = hashlib.sha256(f"{binding['name']}{meta.uid(owner)}".encode()).hexdigest()
    return names.child(prefix, f"-{digest[:10]}")


def claims(bindings: Iterable[Object], owner: Object, kind: Kind) -> list[Object]:
    """The PersistentVolumeClaims that an owner's volumeClaimTemplates ask for."""
    made = []
    for binding in bindings:
        template = binding.get("volumeClaimTemplate")
        if template is None:
            continue
        claim = copy.deepcopy(template)
        claim.update(apiVersion="v1", kind="PersistentVolumeClaim")
        claim.pop("status", None)
        claim["metadata"] = {
            **{field: found for field, found in meta.metadata(template).items() if field in ("labels", "annotations")},
            "name": claim_name(binding, owner),
            "namespace": meta.namespace(owner),
            "ownerReferences": [meta.controller_reference(owner, kind)],
        }
        made.append(claim)
    return made


def claimed(bindings: Iterable[Object], owner: Object) -> list[Object]:
    """The bindings with every volumeClaimTemplate replaced by its claim."""
    return [
        binding
        if binding.get("volumeClaimTemplate") is None
        else {
            **{field: found for field, found in binding.items() if field != "volumeClaimTemplate"},
            "persistentVolumeClaim": {"claimName": claim_name(binding, owner)},
        }
        for binding in bindings
    ]


def problem(declared: Sequence[WorkspaceDeclaration], bindings: Sequence[WorkspaceBinding]) -> str:
    """Why the bindings do not fit the declarations; "" if they do."""
    bound = {binding.name for binding in bindings}
    known = {declaration.name for declaration in declared}
    for declaration in declared:
        if declaration.name not in bound and not declaration.optional:
            return f'declared workspace "{declaration.name}" is required but has not been bound'
    for binding in bindings:
        if binding.name not in known:
            return f'workspace binding "{binding.name}" does not match any declared workspace'
    return ""


def volumes(bindings: Iterable[Object]) -> dict[str, Object]:
    """By workspace, its volume. Bindings of one claim share one volume."""
    made: dict[str, Object] = {}
    by_claim: dict[str, Object] = {}
    for binding in bindings:
        name = f"ws-{hashlib.sha256(binding['name'].encode()).hexdigest()[:5]}"
        source = next(field for field in _SOURCES if binding.get(field) is not None)
        volume = {"name": name, source: copy.deepcopy(binding[source])}
        if source == "persistentVolumeClaim":
            volume = by_claim.setdefault(binding[source].get("claimName", ""), volume)
        made[binding["name"]] = volume
    return made


_SOURCES = ("persistentVolumeClaim", "emptyDir", "configMap", "secret", "projected", "csi")


def replacements(
    declared: Iterable[WorkspaceDeclaration], bindings: Sequence[WorkspaceBinding], made: Volumes
) -> Replacements:
    """`workspaces.<name>.path|bound|claim|volume`."""
    bound = {binding.name: binding for binding in bindings}
    strings: dict[str, str] = {}
    for declaration in declared:
        name, binding = declaration.name, bound.get(declaration.name)
        claim = (binding.persistent_volume_claim or {}).get("claimName", "") if binding else ""
        strings[f"workspaces.{name}.path"] = path(declaration) if binding else ""
        strings[f"workspaces.{name}.bound"] = "true" if binding else "false"
        strings[f"workspaces.{name}.claim"] = claim
        strings[f"workspaces.{name}.volume"] = made[name]["name"] if name in made else ""
    return Replacements(strings)


def path(declaration: WorkspaceDeclaration) -> str:
    return declaration.mount_path or f"/workspace/{declaration.name}"


def mounted(
    spec: Object, declared: Iterable[WorkspaceDeclaration], bindings: Sequence[WorkspaceBinding], made: Volumes
) -> Object:
    """The task spec with its workspaces' volumes; mounts on template and sidecars, or only on those that list them."""
    spec = copy.deepcopy(spec)
    bound = {binding.name: binding for binding in bindings}
    used: dict[str, Object] = {}
    for declaration in declared:
        binding = bound.get(declaration.name)
        if binding is None:
            continue
        used[made[declaration.name]["name"]] = made[declaration.name]
        mount: Object = {"name": made[declaration.name]["name"], "mountPath": path(declaration)}
        if binding.sub_path:
            mount["subPath"] = binding.sub_path
        if declaration.read_only:
            mount["readOnly"] = True
        _place(spec, declaration.name, mount)
    if used:
        spec["volumes"] = [*(spec.get("volumes") or []), *used.values()]
    return spec


def _place(spec: Object, workspace: str, mount: Object) -> None:
    containers = [*(spec.get("steps") or []), *(spec.get("sidecars") or [])]
    listing = [
        (container, usage)
        for container in containers
        for usage in container.get("workspaces") or []
        if usage.get("name") == workspace
    ]
    if listing:
        for container, usage in listing:
            _mount(container, {**mount, "mountPath": usage.get("mountPath") or mount["mountPath"]})
        return
    template = spec.get("stepTemplate") or {}
    spec["stepTemplate"] = template
    _mount(template, mount)
    for sidecar in spec.get("sidecars") or []:
        _mount(sidecar, mount)


def _mount(container: Any, mount: Object) -> None:
    container["volumeMounts"] = [*(container.get("volumeMounts") or []), dict(mount)]
