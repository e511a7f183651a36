"""The routing table: from the Host of a request to the revisions that may answer it.

Law: an entry is immutable and is replaced whole when its Route changes; only Route.status.traffic is believed. One
entry serves all spellings of a host, so a route at rest costs one small tuple per name. No IO.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from funcs.api import meta
from funcs.api.meta import Key, Object
from funcs.errors import BadRequest

from .. import names
from ..traffic import is_local
from .settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Target:
    """Who answers for a name: `revisions[i]` below `limits[i]` of 100. `public` ones are served outside too."""

    revisions: tuple[Key, ...]
    limits: tuple[int, ...]
    public: bool = True

    def pick(self, point: float) -> Key:
        """The revision at `point`, 0 ≤ point < 1."""
        if len(self.revisions) == 1:
            return self.revisions[0]
        at = point * 100
        for revision, limit in zip(self.revisions, self.limits, strict=True):
            if at < limit:
                return revision
        return self.revisions[-1]


class Table:
    """Names are `<label>.<namespace>`; labels are routes and `<tag>-<route>`."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._targets: dict[bytes, Target] = {}
        self._of_route: dict[Key, tuple[bytes, ...]] = {}
        self._public = f".{settings.domain}".encode()
        self._local = tuple(suffix.encode() for suffix in settings.local_suffixes)
        self.version = 0

    def __len__(self) -> int:
        return len(self._of_route)

    def set(self, key: Key, route: Object | None) -> None:
        """The route as it is now; None when it is gone."""
        for name in self._of_route.pop(key, ()):
            del self._targets[name]
        entries = dict(entries_of(route)) if route is not None else {}
        taken = {name: target for name, target in entries.items() if name not in self._targets}
        self._targets.update(taken)
        if taken:
            self._of_route[key] = tuple(taken)
        self.version += 1

    def find(self, host: bytes) -> Target | None:
        """The target of a Host header's value. Raises BadRequest when it is not a host at all."""
        name = host_name(host)
        if name.endswith(self._public):
            target = self._targets.get(name[: -len(self._public)])
            if target is not None and target.public:
                return target
        for suffix in self._local:
            if name.endswith(suffix):
                target = self._targets.get(name[: len(name) - len(suffix)])
                if target is not None:
                    return target
        return None


def entries_of(route: Object) -> Iterator[tuple[bytes, Target]]:
    """The names that a route is served under, each with its target."""
    traffic = meta.status(route).get("traffic") or []
    public, namespace = not is_local(route), meta.namespace(route)
    shares = [(Key(namespace, one["revisionName"]), one.get("percent") or 0) for one in traffic]
    whole = _target([(key, percent) for key, percent in shares if percent > 0], public=public)
    if whole is not None:
        yield _name(meta.name(route), namespace), whole
    for one in traffic:
        if one.get("tag"):
            label = names.tagged(meta.name(route), one["tag"])
            yield _name(label, namespace), Target((Key(namespace, one["revisionName"]),), (100,), public)


def host_name(host: bytes) -> bytes:
    """Lower case, without port and final dot. Raises BadRequest."""
    name, colon, port = host.lower().partition(b":")
    if (colon and not port.isdigit()) or not name or len(name) > 253 or not _PLAIN.issuperset(name):
        raise BadRequest("the Host header is not a host name", hint="Send Host: <name>.<namespace>.localhost")
    return name.removesuffix(b".")


_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-.")


def slim(route: Object) -> Object:
    """What the table needs of a Route, and nothing more."""
    labels: Mapping[str, str] = meta.labels(route)
    kept = {key: value for key, value in labels.items() if key.startswith("networking.")}
    metadata = {field: meta.metadata(route).get(field) for field in ("name", "namespace", "resourceVersion")}
    fields = ("revisionName", "percent", "tag")
    traffic = [
        {field: one[field] for field in fields if field in one} for one in meta.status(route).get("traffic") or []
    ]
    return {"metadata": {**metadata, "labels": kept}, "status": {"traffic": traffic}}


def _target(shares: list[tuple[Key, int]], *, public: bool) -> Target | None:
    limits, total = [], 0
    for _, percent in shares:
        total += percent
        limits.append(total)
    return Target(tuple(key for key, _ in shares), tuple(limits), public) if shares else None


def _name(label: str, namespace: str) -> bytes:
    return f"{label}.{namespace}".encode()
