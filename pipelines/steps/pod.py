"""A TaskRun as a Pod, in Tekton's shape.

Law: the same run and spec give the same pod, byte for byte. Three init containers prepare it; a node that honours
`funcs.dev/ordered-steps` does their work itself: `prepare` (directories, `/tekton/steps` links), `place-scripts`
(`entrypoint.scripts` of its args) and `working-dir-initializer` (its args are directories to make).
Source: Tekton's pkg/pod/pod.go. No IO.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from funcs.api import duration, meta, names, pipeline
from funcs.api.meta import Object

from . import entrypoint
from .containers import WORKSPACE, Containers, containers
from .entrypoint import Credential

PREPARE, PLACE_SCRIPTS, WORKING_DIRS = "prepare", "place-scripts", "working-dir-initializer"
READY = "tekton.dev/ready"
RELEASE = "pipeline.tekton.dev/release"
LABEL_TASK_RUN, LABEL_TASK_RUN_UID = "tekton.dev/taskRun", "tekton.dev/taskRunUID"
_LONGEST_DEADLINE = 2**31 - 1
_FROM_TEMPLATE = (
    "nodeSelector", "tolerations", "affinity", "securityContext", "runtimeClassName", "automountServiceAccountToken",
    "dnsPolicy", "dnsConfig", "enableServiceLinks", "priorityClassName", "schedulerName", "imagePullSecrets",
    "hostAliases", "hostNetwork", "hostUsers", "topologySpreadConstraints",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodSettings:
    """`tools_image` has the entrypoint binary and a shell."""

    tools_image: str
    release: str = "funcs"
    entrypoint_source: str = "/usr/local/bin/funcs-entrypoint"


def pod_name(run: Object) -> str:
    """Of the present attempt."""
    retries = len(meta.status(run).get("retriesStatus") or [])
    return names.child(meta.name(run), f"-pod-retry{retries}" if retries else "-pod")


def pod(run: Object, spec: Object, credentials: Sequence[Credential], settings: PodSettings) -> Object:
    """`spec` is the run's own task spec: substituted, workspaces mounted."""
    template = meta.spec(run).get("podTemplate") or {}
    made = containers(spec, template.get("env") or [], credentials)
    _mount_secrets(made.steps, credentials)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(run),
            "namespace": meta.namespace(run),
            "labels": {**meta.labels(run), LABEL_TASK_RUN: meta.name(run), LABEL_TASK_RUN_UID: meta.uid(run)},
            "annotations": _annotations(run, made, settings),
            "ownerReferences": [meta.controller_reference(run, pipeline.TASK_RUN)],
        },
        "spec": {
            **{field: copy.deepcopy(template[field]) for field in _FROM_TEMPLATE if template.get(field) is not None},
            "restartPolicy": "Never",
            "serviceAccountName": meta.spec(run).get("serviceAccountName") or "default",
            "activeDeadlineSeconds": _deadline(meta.spec(run).get("timeout")),
            "initContainers": _init_containers(spec, made, settings),
            "containers": [*made.steps, *made.sidecars],
            "volumes": _volumes(spec, template, made, credentials),
        },
    }


def _annotations(run: Object, made: Containers, settings: PodSettings) -> Object:
    dropped = "kubectl.kubernetes.io/last-applied-configuration"
    kept = {key: value for key, value in meta.annotations(run).items() if key != dropped}
    annotations = {**kept, RELEASE: settings.release, entrypoint.ORDERED_STEPS: "true"}
    return annotations if made.sidecars else {**annotations, READY: "READY"}


def _deadline(timeout: str | None) -> int:
    seconds = duration.parse(timeout) if timeout else 0.0
    return min(max(1, int(seconds * 1.5)), _LONGEST_DEADLINE) if seconds else _LONGEST_DEADLINE


def _init_containers(spec: Object, made: Containers, settings: PodSettings) -> list[Object]:
    steps = [container["name"] for container in made.steps]
    source = settings.entrypoint_source
    listed = [
        {
            "name": PREPARE,
            "image": settings.tools_image,
            "workingDir": "/",
            "command": [source, "init", source, entrypoint.BINARY],
            "args": steps,
            "volumeMounts": [
                {"name": "tekton-internal-bin", "mountPath": "/tekton/bin"},
                {"name": "tekton-internal-steps", "mountPath": entrypoint.STEPS},
            ],
        }
    ]
    directories = _working_dirs(made)
    if directories:
        listed.append(
            {
                "name": WORKING_DIRS,
                "image": settings.tools_image,
                "workingDir": WORKSPACE,
                "command": ["mkdir", "-p", "--"],
                "args": directories,
                "volumeMounts": _workspace_mounts(spec),
            }
        )
    if made.scripts:
        listed.append(
            {
                "name": PLACE_SCRIPTS,
                "image": settings.tools_image,
                "command": ["sh"],
                "args": entrypoint.place_scripts(made.scripts),
                "volumeMounts": [
                    {"name": "tekton-internal-scripts", "mountPath": entrypoint.SCRIPTS},
                    {"name": "tekton-internal-bin", "mountPath": "/tekton/bin", "readOnly": True},
                ],
            }
        )
    return listed


def _working_dirs(made: Containers) -> list[str]:
    """Those under /workspace; another absolute directory is the image's own business."""
    wanted = {container.get("workingDir", "") for container in made.steps}
    return sorted(path for path in wanted if path.startswith(f"{WORKSPACE}/") and ".." not in path.split("/"))


def _workspace_mounts(spec: Object) -> list[Object]:
    template = (spec.get("stepTemplate") or {}).get("volumeMounts") or []
    return [{"name": "tekton-internal-workspace", "mountPath": WORKSPACE}, *copy.deepcopy(template)]


def _volumes(spec: Object, template: Object, made: Containers, credentials: Sequence[Credential]) -> list[Object]:
    own = ["bin", "steps", "workspace", "home", "results"]
    own += [f"run-{index}" for index in range(len(made.steps))]
    own += ["scripts"] if made.scripts else []
    volumes: list[Object] = [{"name": f"tekton-internal-{name}", "emptyDir": {}} for name in own]
    volumes.append(
        {
            "name": "tekton-internal-downward",
            "downwardAPI": {
                "items": [{"path": "ready", "fieldRef": {"fieldPath": f"metadata.annotations['{READY}']"}}]
            },
        }
    )
    volumes += [
        {"name": f"tekton-creds-init-home-{index}", "emptyDir": {"medium": "Memory"}}
        for index in range(len(made.steps))
    ]
    volumes += [{"name": _secret_volume(secret), "secret": {"secretName": secret}} for secret in _secrets(credentials)]
    listed = {volume["name"]: volume for volume in (*(template.get("volumes") or []), *(spec.get("volumes") or []))}
    return [*volumes, *copy.deepcopy(list(listed.values()))]


def _mount_secrets(steps: Sequence[Object], credentials: Sequence[Credential]) -> None:
    for step in steps:
        step["volumeMounts"] += [
            {"name": _secret_volume(secret), "mountPath": f"{entrypoint.CREDENTIAL_SECRETS}/{secret}", "readOnly": True}
            for secret in _secrets(credentials)
        ]


def _secrets(credentials: Sequence[Credential]) -> list[str]:
    return list(dict.fromkeys(credential.secret for credential in credentials))


def _secret_volume(secret: str) -> str:
    return names.child("tekton-internal-secret-volume-", secret.replace(".", "-"))
