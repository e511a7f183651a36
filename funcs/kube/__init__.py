"""The Client over HTTP, for any Kubernetes-shaped API: a real cluster or the embedded one."""

from .client import HttpClient, connect
from .endpoint import Endpoint, from_kubeconfig, in_cluster, to_server

__all__ = ["Endpoint", "HttpClient", "connect", "from_kubeconfig", "in_cluster", "to_server"]
