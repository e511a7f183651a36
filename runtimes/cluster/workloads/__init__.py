"""Kubernetes' own controllers, as far as one machine needs them.

Law: only the embedded cluster runs them; on a real cluster Kubernetes does. Each decides purely and writes through the
Client port. IO: none of its own.
"""

from __future__ import annotations

from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller

from .deployments import Deployments
from .endpointslices import EndpointSlices
from .garbage import Garbage
from .namespaces import Namespaces
from .replicasets import ReplicaSets


def controllers(client: Client, cache: Cache, clock: Clock, *, root_ca: str) -> list[Controller]:
    """`root_ca` is the PEM of the cluster's certificate authority, published in every namespace."""
    return [
        Deployments(client, cache, clock).controller(),
        ReplicaSets(client, cache).controller(),
        EndpointSlices(client, cache).controller(),
        Namespaces(client, cache, root_ca=root_ca).controller(),
        Garbage(client, cache).controller(),
    ]


__all__ = ["controllers"]
