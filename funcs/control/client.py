"""The Client port: the one way any controller, node, gateway or command touches resources.

Law: nobody above it can tell which substrate is under it. Objects in and out are plain JSON mappings that the caller
owns (an implementation never shares or keeps them). Implementations: `funcs.control.memory` (tests),
`runtimes.cluster.store` (embedded, in process), `funcs.kube` (HTTP, any Kubernetes API). One contract suite runs over
all of them (`tests/contract`). Errors are of the `funcs.errors` family: NotFound, AlreadyExists, Conflict, Invalid,
Expired, Forbidden, Unavailable, Unsupported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects


class EventType(StrEnum):
    """The types of watch events (Kubernetes API conventions, "Efficient detection of changes")."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class PatchType(StrEnum):
    """Patch media types."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


Propagation = Literal["Background", "Foreground", "Orphan"]
FieldValidation = Literal["Ignore", "Warn", "Strict"]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: EventType
    object: Object


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A consistent list: watching from `resource_version` misses nothing after it."""

    items: Objects
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """What every write may carry. `manager` is the field manager recorded in managedFields."""

    manager: str = "funcs"
    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: float | None = None
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    propagation: Propagation = "Background"
    grace_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


WRITE = WriteOptions()
DELETE = DeleteOptions()
LOG = LogOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects of a kind. `labels` and `fields` are selectors in Kubernetes' syntax; "" selects all."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""
    limit: int = 0
    continue_token: str = field(default="", repr=False)


ALL = Selection()


class Client(Protocol):
    """Get, list, watch, create, update, apply, patch, delete, subresource, logs."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Raises NotFound."""
        ...

    async def list(self, kind: Kind, selection: Selection = ALL) -> ObjectList: ...

    def watch(
        self,
        kind: Kind,
        selection: Selection = ALL,
        *,
        resource_version: str = "",
        bookmarks: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version` ("" means: from now, after synthetic ADDED events for what exists).

        Ends when `timeout` seconds have passed or the server closes it; raises Expired when the version is compacted.
        """
        ...

    async def create(self, kind: Kind, obj: Object, options: WriteOptions = WRITE) -> Object:
        """Honours generateName. Raises AlreadyExists, Invalid."""
        ...

    async def update(self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, subresource: str = "") -> Object:
        """PUT: replaces spec and metadata, or with subresource="status" only the status. Raises Conflict when stale."""
        ...

    async def apply(
        self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, force: bool = True, subresource: str = ""
    ) -> Object:
        """Server-side apply: creates or merges the fields given; they become `options.manager`'s."""
        ...

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Object | Objects,
        namespace: str | None = None,
        *,
        type: PatchType = PatchType.MERGE,
        subresource: str = "",
        options: WriteOptions = WRITE,
    ) -> Object: ...

    async def patch_status(self, kind: Kind, name: str, status: Object, namespace: str | None = None) -> Object:
        """Merge patch of the status subresource with {"status": status}."""
        ...

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, options: DeleteOptions = DELETE
    ) -> Object | None:
        """The object if it lingers (finalizers, grace, foreground), None if it is gone. Raises NotFound."""
        ...

    async def subresource(
        self, kind: Kind, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        """POST to a subresource other than status: `token` (TokenRequest), `eviction`, `binding`."""
        ...

    def stream_log(self, name: str, namespace: str, options: LogOptions = LOG) -> AsyncIterator[bytes]:
        """The log of a pod's container, in chunks as they come."""
        ...
