"""Which Host headers are ours: loopback and the names of the API server, against DNS rebinding.

Law: pure; a page of another site that made its name resolve to this machine still sends that name, and is refused. No
IO.
"""

from __future__ import annotations

from dataclasses import dataclass

from funcs.errors import Forbidden

LOOPBACK = ("localhost", "127.0.0.1", "::1")
IN_CLUSTER = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Names and addresses without ports; `more` is what the cluster was configured with."""

    more: tuple[str, ...] = ()

    def check(self, header: str) -> None:
        """Raises Forbidden."""
        if host_of(header) not in (*LOOPBACK, *IN_CLUSTER, *self.more):
            raise Forbidden(
                "the Host header does not name this API server", hint="Use the address that the kubeconfig names."
            )


def host_of(header: str) -> str:
    """The host of a Host header, lower case, without port, brackets and final dot; "" if it is none."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    name, colon, port = text.partition(":")
    if colon and not port.isdigit():
        return ""
    return name.removesuffix(".")
