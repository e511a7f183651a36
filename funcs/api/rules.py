"""Every group's rules and views in one place: what an API server and a store are given.

Law: the union of what the groups' modules export, a kind in one of them only. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from . import core_rules, eventing, pipeline, serving
from .admission import Rules
from .kinds import Kind

RULES: Mapping[Kind, Rules] = {**core_rules.RULES, **serving.RULES, **eventing.RULES, **pipeline.RULES}
VIEWS: Mapping[Kind, type[msgspec.Struct]] = {**serving.VIEWS, **eventing.VIEWS, **pipeline.VIEWS}
