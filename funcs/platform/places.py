"""Where the embedded cluster keeps what it keeps.

Law: every path of a cluster is named here, and nowhere else; the directory carries a format number from its first day.
IO: creates directories, reads and writes `format` and `cluster.json`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from funcs.errors import Invalid, NotFound

FORMAT = 1
Isolation = Literal["auto", "crun", "process"]
_SOCKET_LIMIT = 100  # a unix socket's path holds 108 bytes, its name included


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The loopback ports of a cluster; 0 means: any free one, chosen at the first start."""

    api: int = 7443
    hub: int = 7500
    gateway: int = 8080
    broker: int = 7480


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`cluster.json`: what was decided at the first start. `cache` is the build cache's directory."""

    name: str
    node: str
    ports: Ports
    cache: Path
    isolation: Isolation = "auto"

    @property
    def registry(self) -> str:
        """The registry's one name, the same for CLI, node and pods."""
        return f"localhost:{self.ports.hub}"


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one cluster's state directory."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens.json"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def broker(self) -> Path:
        return self.root / "broker"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def git(self) -> Path:
        return self.root / "git"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Unix sockets and pid records; elsewhere when the state directory's path is too long for a socket."""
        inside = self.root / "run"
        if len(os.fsencode(inside)) + 24 <= _SOCKET_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"funcs-{os.getuid()}-{digest}"

    def create(self) -> None:
        """Make what is missing. Raises Invalid if the directory is of a newer format or cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_format(self.root)
            for path in (self.store, self.broker, self.images, self.git, self.volumes, self.pods, self.logs):
                path.mkdir(exist_ok=True, mode=0o700)
            self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Invalid(
                f"the state directory {self.root} cannot be written: {error.strerror}",
                reason="StateNotWritable",
                hint="Make it writable, or set XDG_STATE_HOME to another place.",
            ) from error
        owner = self.run.stat().st_uid
        if owner != os.getuid():
            raise Invalid(f"{self.run} belongs to user {owner}", hint="Remove it, or choose another state directory.")
        self.run.chmod(0o700)

    def read_record(self) -> Record:
        """Raises NotFound before the first `funcs up`."""
        try:
            return msgspec.json.decode(self.record.read_bytes(), type=Record, dec_hook=_path)
        except FileNotFoundError:
            raise NotFound(f"there is no cluster in {self.root}", hint="Run `funcs up`.") from None
        except OSError as error:
            hint = "Is it another user's? Choose one with XDG_STATE_HOME."
            raise Invalid(f"{self.record} cannot be read: {error.strerror}", hint=hint) from error
        except msgspec.DecodeError as error:
            raise Invalid(f"{self.record} is damaged: {error}", hint="Restore it, or `funcs down --purge`.") from error

    def write_record(self, record: Record) -> None:
        write_atomically(self.record, msgspec.json.format(msgspec.json.encode(record, enc_hook=str), indent=2) + b"\n")


def _path(type: type, value: object) -> Path:
    return Path(str(value))


def state_root(environ: Mapping[str, str], cluster: str = "default") -> Path:
    """`$XDG_STATE_HOME/funcs/<cluster>`."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".local" / "state")
    return Path(base) / "funcs" / cluster


def cache_root(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/funcs`."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "funcs"


def check_format(root: Path) -> None:
    """Stamp a new directory; refuse one that a newer funcs has written."""
    stamp = root / "format"
    if not stamp.exists():
        write_atomically(stamp, f"{FORMAT}\n".encode())
        return
    text = stamp.read_text().strip()
    if not text.isdigit():
        raise Invalid(f"{stamp} holds {text!r}, not a format number", hint="Restore it, or choose another cluster.")
    if int(text) > FORMAT:
        raise Invalid(
            f"{root} has format {text}; this funcs knows up to {FORMAT}", hint="Upgrade funcs to use this cluster."
        )


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, and on disk when this returns."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
