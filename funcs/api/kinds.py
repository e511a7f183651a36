"""What a kind of resource is: its names, its scope, its columns.

Law: a `Kind` is data about a kind, never about one object. Everything that lists, serves, watches or prints
resources (Client, API server, kubectl tables) is driven by it. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column, as in a CRD's `additionalPrinterColumns`. `path` is a JSONPath such as `.status.url`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """JSONPaths of the scale subresource."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ".status.selector"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One served kind. Compared by identity of (group, version, kind); hashable, so it keys maps."""

    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = True
    scale: Scale | None = None
    columns: tuple[Column, ...] = field(default=(), repr=False)

    @property
    def api_version(self) -> str:
        """`group/version`, or the bare version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def resource(self) -> str:
        """`plural.group`: the name kubectl and error messages use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.group, self.version, self.kind)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kind) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"
