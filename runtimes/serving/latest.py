"""Which revision of a configuration is the latest ready one.

Law: the newest that is Ready, never older than the present one, so that traffic never moves back by itself. No IO.
"""

from __future__ import annotations

from funcs.api import meta
from funcs.api import serving_keys as keys
from funcs.api.conditions import is_true
from funcs.api.meta import Object, Objects


def latest_ready(revisions: Objects, present: str, created: str) -> str:
    """`revisions` are the configuration's own; `present` its latestReadyRevisionName; `created` its latestCreated."""
    ready = [one for one in revisions if is_true(one) and not meta.is_deleting(one)]
    named = next((one for one in ready if meta.name(one) == created), None)
    if named is not None:
        return created
    floor = next((generation_of(one) for one in revisions if meta.name(one) == present), 0)
    newest = max(ready, key=lambda one: (generation_of(one), meta.name(one)), default=None)
    if newest is None or generation_of(newest) < floor:
        return present
    return meta.name(newest)


def generation_of(revision: Object) -> int:
    text = meta.labels(revision).get(keys.CONFIGURATION_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0
