"""The shape of every controller: `reconcile(key)`, told which key to look at and nothing else.

Law: level, not edge. A reconcile reads the cache, decides with a pure function, writes through the Client, and returns
when to look again. A settled world costs zero writes. What drives it is `funcs.control.loop`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from funcs.api import meta
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object, Objects


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Reconcile this key again after so many seconds, even if nothing changes."""

    after: float


Reconcile = Callable[[Key], Awaitable[LookAgain | None]]


class Cache(Protocol):
    """What informers have seen. Objects are shared and must not be changed: copy before you edit."""

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None: ...

    def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Objects:
        """All that match every given label exactly; `namespace=None` means all namespaces."""
        ...

    def owned_by(self, kind: Kind, owner_uid: str) -> Objects:
        """Objects of `kind` whose controller ownerReference has this uid."""
        ...


def own_key(obj: Object) -> Iterable[Key]:
    """For a controller's own kind."""
    return (meta.key(obj),)


def owner_key(kind: Kind) -> Callable[[Object], Iterable[Key]]:
    """For children: the key of the owner, if the controller reference names `kind`."""

    def keys(obj: Object) -> Iterable[Key]:
        owner = meta.controller(obj)
        if owner is None or owner.get("kind") != kind.kind or owner.get("apiVersion") != kind.api_version:
            return ()
        return (Key(meta.namespace(obj), owner["name"]),)

    return keys


@dataclass(frozen=True, slots=True)
class Watch:
    """A kind to watch, and which keys an object of it concerns."""

    kind: Kind
    keys: Callable[[Object], Iterable[Key]] = own_key


@dataclass(frozen=True, slots=True)
class Controller:
    """One reconciler and what wakes it. `concurrency` keys are worked on at once, one key never twice."""

    name: str
    reconcile: Reconcile
    watches: tuple[Watch, ...]
    concurrency: int = 4
