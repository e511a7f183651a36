"""Where a Destination is: a reference's address, an absolute URI, or a URI relative to the reference's address.

Law: pure over the Cache. What is asked for is tracked, so that its changes wake who asked. Source: Knative's
control-plane specification, "Destination resolution". No IO.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urljoin

from funcs.api import core, eventing, meta, serving
from funcs.api.delivery import Destination, Reference
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.control.controller import Cache
from funcs.errors import NotFound, Unavailable

ADDRESSABLE: tuple[Kind, ...] = (core.SERVICE, serving.SERVICE, serving.ROUTE, eventing.BROKER)


class Tracker:
    """Who wants to know of which object."""

    def __init__(self) -> None:
        self._interested: dict[tuple[Kind, Key], set[Key]] = {}
        self._asked: dict[Key, set[tuple[Kind, Key]]] = {}

    def begin(self, asker: Key) -> None:
        """A new look at everything: earlier interests of `asker` are forgotten."""
        for target in self._asked.pop(asker, ()):
            interested = self._interested[target]
            interested.discard(asker)
            if not interested:
                del self._interested[target]

    def track(self, asker: Key, kind: Kind, target: Key) -> None:
        self._asked.setdefault(asker, set()).add((kind, target))
        self._interested.setdefault((kind, target), set()).add(asker)

    def interested_in(self, kind: Kind, obj: Object) -> Iterable[Key]:
        return tuple(self._interested.get((kind, meta.key(obj)), ()))


class Resolver:
    """Turns Destinations into URLs on behalf of one controller."""

    def __init__(self, cache: Cache, tracker: Tracker, cluster_domain: str = "cluster.local") -> None:
        self._cache = cache
        self._tracker = tracker
        self._domain = cluster_domain

    def url(self, destination: Destination, asker: Key) -> str:
        """Raises NotFound when the object or its kind is not there, Unavailable when it has no address yet."""
        if destination.ref is None:
            return destination.uri or ""
        address = self._address(destination.ref, asker)
        return urljoin(address, destination.uri) if destination.uri else address

    def referent(self, reference: Reference, asker: Key) -> Object:
        """The object itself. Raises NotFound."""
        kind = _kind(reference)
        key = Key(reference.namespace or asker.namespace, reference.name)
        self._tracker.track(asker, kind, key)
        found = self._cache.get(kind, key.name, key.namespace)
        if found is None:
            raise NotFound(f'{kind.resource} "{key.name}" not found')
        return found

    def _address(self, reference: Reference, asker: Key) -> str:
        found = self.referent(reference, asker)
        if _kind(reference) == core.SERVICE:
            return f"http://{meta.name(found)}.{meta.namespace(found)}.svc.{self._domain}"
        url = (meta.status(found).get("address") or {}).get("url")
        if not url:
            raise Unavailable(f"address not set for {reference.kind} {meta.key(found)}", reason="NoAddress")
        return str(url)


def _kind(reference: Reference) -> Kind:
    """By kind and group; any version of it will do."""
    group = reference.group or reference.api_version.rpartition("/")[0]
    for kind in ADDRESSABLE:
        if (kind.kind, kind.group) == (reference.kind, group):
            return kind
    known = ", ".join(kind.group_kind for kind in ADDRESSABLE)
    raise NotFound(
        f"{reference.kind} in {reference.api_version or group} has no address that is known here; known: {known}"
    )
