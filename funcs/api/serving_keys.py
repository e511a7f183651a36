"""Labels and annotations of Knative Serving, by name.

Law: names only; who may write which is decided by the code that uses them. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping

GROUP = "serving.knative.dev/"
SERVICE = GROUP + "service"
SERVICE_UID = GROUP + "serviceUID"
CONFIGURATION = GROUP + "configuration"
CONFIGURATION_UID = GROUP + "configurationUID"
CONFIGURATION_GENERATION = GROUP + "configurationGeneration"
REVISION = GROUP + "revision"
REVISION_UID = GROUP + "revisionUID"
ROUTE = GROUP + "route"
ROUTING_STATE = GROUP + "routingState"
ROUTING_STATE_MODIFIED = GROUP + "routingStateModified"
ROUTES = GROUP + "routes"
CREATOR = GROUP + "creator"
LAST_MODIFIER = GROUP + "lastModifier"
LAST_PINNED = GROUP + "lastPinned"
NO_GC = GROUP + "no-gc"
PROGRESS_DEADLINE = (GROUP + "progress-deadline", GROUP + "progressDeadline")
ROLLOUT_DURATION = (GROUP + "rollout-duration", GROUP + "rolloutDuration")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
VISIBILITY = "networking.knative.dev/visibility"
CLUSTER_LOCAL = "cluster-local"

AUTOSCALING = "autoscaling.knative.dev/"


def first(values: Mapping[str, str], keys: tuple[str, ...]) -> tuple[str, str] | None:
    """The first of several spellings that is present, with its value."""
    return next(((key, values[key]) for key in keys if key in values), None)
