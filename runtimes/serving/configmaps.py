"""Serving's config maps as the cache has them.

Law: read when used, so a change takes effect at once; what is absent or cannot be read leaves the default.
"""

from __future__ import annotations

from funcs.api.core import CONFIG_MAP
from funcs.control.controller import Cache

from .settings import CONFIG_AUTOSCALER, CONFIG_NAMESPACE, AutoscalerSettings, autoscaler_settings


def autoscaler_config(cache: Cache, default: AutoscalerSettings) -> AutoscalerSettings:
    found = cache.get(CONFIG_MAP, CONFIG_AUTOSCALER, CONFIG_NAMESPACE)
    data = (found or {}).get("data") or {}
    return autoscaler_settings(data, default) if data else default
