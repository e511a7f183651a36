"""Where a pod runs: on one machine, placing is part of admission.

Law: a pod is given its node when it is created, unless its nodeSelector asks for labels this node does not have; then
it stays Pending, as it would on Kubernetes. Saves a write and a watch on the way of every cold start. No IO.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

from funcs.api import meta
from funcs.api.admission import Request, Rules


def node_labels(node: str) -> dict[str, str]:
    """The well-known labels of this machine's node."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "kubernetes.io/hostname": node,
        "kubernetes.io/os": platform.system().lower(),
        "kubernetes.io/arch": machine,
    }


def placing(rules: Rules, node: str, labels: Mapping[str, str]) -> Rules:
    """The rules of Pods, with a place given to each new one."""

    def default(request: Request) -> None:
        rules.default(request)
        if request.operation == "CREATE":
            spec = request.object.setdefault("spec", {})
            wanted: Mapping[str, str] = meta.spec(request.object).get("nodeSelector") or {}
            if not spec.get("nodeName") and wanted.items() <= labels.items():
                spec["nodeName"] = node

    return Rules(default=default, validate=rules.validate, warn=rules.warn)
