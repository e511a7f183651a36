"""What must be on disk before any part starts: keys, tokens, and a kubeconfig for the person and for each part.

Law: done by `funcs up`, before the supervisor, so that no part waits for another's files. IO: the state directory.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from funcs.control.clock import SystemClock
from runtimes.cluster import pki

from . import credentials
from .places import Places, Record, write_atomically


def prepare(places: Places, record: Record) -> None:
    """Idempotent. Raises Terminal or Invalid for damaged files."""
    tokens = credentials.ensure(places)
    keys = pki.ensure(places.pki, SystemClock().now())
    for name, path, token in (
        (record.name, places.kubeconfig, tokens.admin),
        ("node", kubeconfig_of(places, "node"), tokens.node),
        ("gateway", kubeconfig_of(places, "gateway"), tokens.gateway),
        ("broker", kubeconfig_of(places, "broker"), tokens.broker),
    ):
        config = pki.kubeconfig(name, f"https://127.0.0.1:{record.ports.api}", keys.authority_pem(), token)
        write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode())


def kubeconfig_of(places: Places, part: str) -> Path:
    """The kubeconfig that a part connects with."""
    return places.run / f"{part}.kubeconfig"
