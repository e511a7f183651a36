"""What a node is told when it is made, and what its parts share. No IO."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from funcs.control.client import Client
from funcs.control.clock import Clock

from ..images import ImageStore
from .ports import Ports
from .recorder import Recorder
from .runtime import PodRuntime


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """`state`: the cluster's directory; `run`: a short path for sockets; `service`: the API server as pods see it."""

    name: str
    state: Path
    run: Path
    service: Mapping[str, str] = field(default_factory=dict)
    certificate_authority: str = ""
    capacity: Mapping[str, str] = field(default_factory=dict)
    log_limit: int = 10 << 20
    version: str = ""

    @property
    def pods(self) -> Path:
        return self.state / "pods"

    @property
    def claims(self) -> Path:
        return self.state / "volumes"

    def socket(self, pod_uid: str) -> Path:
        """A pod's shim listens here: short, as a socket's path has 108 bytes."""
        return self.run / f"{hashlib.sha256(pod_uid.encode()).hexdigest()[:20]}.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every pod's worker shares."""

    client: Client
    images: ImageStore
    runtime: PodRuntime
    clock: Clock
    settings: NodeSettings
    ports: Ports
    recorder: Recorder
