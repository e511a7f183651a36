"""Kubernetes' own kinds, as far as functions, pipelines, serving and eventing need them.

Law: foreign specs stay raw; here is only what every server of them must know: names, scope, columns. No IO.
"""

from __future__ import annotations

from .kinds import Column, Kind, Scale

_AGE = Column("Age", ".metadata.creationTimestamp", "date")

NAMESPACE = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    short_names=("ns",),
    namespaced=False,
    columns=(Column("Status", ".status.phase"), _AGE),
)
POD = Kind(
    group="", version="v1", kind="Pod", plural="pods", short_names=("po",), categories=("all",),
)  # fmt: skip
SERVICE = Kind(
    group="", version="v1", kind="Service", plural="services", short_names=("svc",), categories=("all",),
)  # fmt: skip
ENDPOINTS = Kind(group="", version="v1", kind="Endpoints", plural="endpoints", short_names=("ep",), status=False)
CONFIG_MAP = Kind(group="", version="v1", kind="ConfigMap", plural="configmaps", short_names=("cm",), status=False)
SECRET = Kind(group="", version="v1", kind="Secret", plural="secrets", status=False)
SERVICE_ACCOUNT = Kind(
    group="", version="v1", kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",), status=False
)
EVENT = Kind(group="", version="v1", kind="Event", plural="events", short_names=("ev",), status=False)
NODE = Kind(group="", version="v1", kind="Node", plural="nodes", short_names=("no",), namespaced=False)
PERSISTENT_VOLUME_CLAIM = Kind(
    group="", version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims", short_names=("pvc",)
)
DEPLOYMENT = Kind(
    group="apps", version="v1", kind="Deployment", plural="deployments", short_names=("deploy",), categories=("all",),
    scale=Scale(),
)  # fmt: skip
REPLICA_SET = Kind(
    group="apps", version="v1", kind="ReplicaSet", plural="replicasets", short_names=("rs",), categories=("all",),
    scale=Scale(),
)  # fmt: skip
ENDPOINT_SLICE = Kind(
    group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices", status=False
)
LEASE = Kind(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", status=False)
ROLE = Kind(group="rbac.authorization.k8s.io", version="v1", kind="Role", plural="roles", status=False)
ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io", version="v1", kind="RoleBinding", plural="rolebindings", status=False
)
CLUSTER_ROLE = Kind(
    group="rbac.authorization.k8s.io", version="v1", kind="ClusterRole", plural="clusterroles", namespaced=False,
    status=False,
)  # fmt: skip
CLUSTER_ROLE_BINDING = Kind(
    group="rbac.authorization.k8s.io", version="v1", kind="ClusterRoleBinding", plural="clusterrolebindings",
    namespaced=False, status=False,
)  # fmt: skip
CUSTOM_RESOURCE_DEFINITION = Kind(
    group="apiextensions.k8s.io", version="v1", kind="CustomResourceDefinition", plural="customresourcedefinitions",
    short_names=("crd", "crds"), namespaced=False,
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    NAMESPACE, POD, SERVICE, ENDPOINTS, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, EVENT, NODE, PERSISTENT_VOLUME_CLAIM,
    DEPLOYMENT, REPLICA_SET, ENDPOINT_SLICE, LEASE, ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
)  # fmt: skip
