"""What a builder is: source in, an image's digest out.

Law: a build is a function of source and plan; where it is cached, limited, retried or attested is a wrapper's affair.
No IO.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from funcs.oci.layer import Layer
from funcs.oci.model import Descriptor


@dataclass(frozen=True, slots=True)
class Source:
    """A function's directory, and what is known about where it came from."""

    root: Path
    revision: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to make of it. `repository` and `tag` are the image's names in the layout; `labels` are added."""

    name: str
    repository: str
    tag: str = "latest"
    envs: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, Layer] = field(default_factory=dict)  # layers by key that a registry has already


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """One layer of an image: which (`base`, `dependencies`, …), and whether it had to be made."""

    name: str
    layer: Layer
    cached: bool


@dataclass(frozen=True, slots=True)
class Built:
    """A finished image in a layout."""

    descriptor: Descriptor
    layers: tuple[BuiltLayer, ...]

    @property
    def digest(self) -> str:
        return self.descriptor.digest


Report = Callable[[BuiltLayer], None]


class Builder(Protocol):
    """Raises Invalid for source that cannot be built, Unavailable when something it needs cannot be reached."""

    async def build(self, source: Source, plan: Plan, report: Report) -> Built: ...
