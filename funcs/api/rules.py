"""Every group's rules and views in one place: what an API server and a store are given.

Law: the union of what the groups' modules export, a kind in one of them only. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from . import core_rules, eventing, pipeline, serving, triggers
from .admission import Rules
from .kinds import Kind

_GROUPS = (core_rules, serving, eventing, pipeline, triggers)

RULES: Mapping[Kind, Rules] = {kind: rules for group in _GROUPS for kind, rules in getattr(group, "RULES", {}).items()}
VIEWS: Mapping[Kind, type[msgspec.Struct]] = {
    kind: view for group in _GROUPS for kind, view in getattr(group, "VIEWS", {}).items()
}
