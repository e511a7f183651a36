"""serving.knative.dev and autoscaling.internal.knative.dev: kinds, typed views, defaulting, validation.

Law: pure; config maps are arguments. Sources: Knative serving's CRDs and the API specification. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from . import serving_defaults, serving_validation, serving_views
from .admission import Rules
from .kinds import Column, Kind

_READY = (
    Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
    Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
)
_ALL = ("all", "knative", "serving")

SERVICE = Kind(
    group="serving.knative.dev", version="v1", kind="Service", plural="services", short_names=("kservice", "ksvc"),
    categories=_ALL,
    columns=(
        Column("URL", ".status.url"),
        Column("LatestCreated", ".status.latestCreatedRevisionName"),
        Column("LatestReady", ".status.latestReadyRevisionName"),
        *_READY,
    ),
)  # fmt: skip
CONFIGURATION = Kind(
    group="serving.knative.dev", version="v1", kind="Configuration", plural="configurations",
    short_names=("config", "cfg"), categories=_ALL,
    columns=(
        Column("LatestCreated", ".status.latestCreatedRevisionName"),
        Column("LatestReady", ".status.latestReadyRevisionName"),
        *_READY,
    ),
)  # fmt: skip
REVISION = Kind(
    group="serving.knative.dev", version="v1", kind="Revision", plural="revisions", short_names=("rev",),
    categories=_ALL,
    columns=(
        Column("Config Name", ".metadata.labels['serving\\.knative\\.dev/configuration']"),
        Column("Generation", ".metadata.labels['serving\\.knative\\.dev/configurationGeneration']"),
        *_READY,
        Column("Actual Replicas", ".status.actualReplicas", "integer"),
        Column("Desired Replicas", ".status.desiredReplicas", "integer"),
    ),
)  # fmt: skip
ROUTE = Kind(
    group="serving.knative.dev", version="v1", kind="Route", plural="routes", short_names=("rt",), categories=_ALL,
    columns=(Column("URL", ".status.url"), *_READY),
)  # fmt: skip
POD_AUTOSCALER = Kind(
    group="autoscaling.internal.knative.dev", version="v1alpha1", kind="PodAutoscaler", plural="podautoscalers",
    short_names=("kpa", "pa"), categories=("all", "knative-internal", "autoscaling"),
    columns=(
        Column("DesiredScale", ".status.desiredScale", "integer"),
        Column("ActualScale", ".status.actualScale", "integer"),
        *_READY,
    ),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (SERVICE, CONFIGURATION, REVISION, ROUTE, POD_AUTOSCALER)

VIEWS: Mapping[Kind, type[msgspec.Struct]] = {
    SERVICE: serving_views.Service,
    CONFIGURATION: serving_views.Configuration,
    REVISION: serving_views.Revision,
    ROUTE: serving_views.Route,
    POD_AUTOSCALER: serving_views.PodAutoscaler,
}

RULES: Mapping[Kind, Rules] = {
    SERVICE: Rules(serving_defaults.default_service, serving_validation.validate_service),
    CONFIGURATION: Rules(serving_defaults.default_configuration, serving_validation.validate_configuration),
    REVISION: Rules(serving_defaults.default_revision, serving_validation.validate_revision),
    ROUTE: Rules(serving_defaults.default_route, serving_validation.validate_route),
}
