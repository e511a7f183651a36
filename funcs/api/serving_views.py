"""Typed views of Serving's resources, for reading and deciding.

Law: reading only. What is written is never built from a view, so nothing unknown is lost; containers and volumes stay
raw. Every field that is optional on the wire has its default here. No IO.
"""

from __future__ import annotations

from typing import Any

import msgspec


class View(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Frozen, camelCase on the wire, unknown fields ignored."""


class Condition(View, frozen=True):
    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    severity: str = ""
    last_transition_time: str = ""


class TrafficTarget(View, frozen=True):
    """One line of `traffic`. `percent` None counts as 0."""

    tag: str = ""
    revision_name: str = ""
    configuration_name: str = ""
    latest_revision: bool | None = None
    percent: int | None = None
    url: str = ""


class Address(View, frozen=True):
    url: str = ""


class TemplateMetadata(View, frozen=True):
    name: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Template(View, frozen=True):
    """`spec` is a PodSpec with Serving's own four fields beside it: raw."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: dict[str, Any] = {}


class ConfigurationSpec(View, frozen=True):
    template: Template = Template()


class RouteSpec(View, frozen=True):
    traffic: list[TrafficTarget] = []


class ServiceSpec(View, frozen=True):
    template: Template = Template()
    traffic: list[TrafficTarget] = []


class RevisionSpec(View, frozen=True):
    """Serving's own fields of a revision; containers and volumes are raw."""

    containers: list[dict[str, Any]] = []
    init_containers: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    service_account_name: str = ""
    container_concurrency: int = 0
    timeout_seconds: int = 300
    response_start_timeout_seconds: int = 0
    idle_timeout_seconds: int = 0


class ScaleTarget(View, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""


class PodAutoscalerSpec(View, frozen=True):
    """`reachability`: "", Reachable or Unreachable."""

    scale_target_ref: ScaleTarget = ScaleTarget()
    container_concurrency: int = 0
    protocol_type: str = ""
    reachability: str = ""


class Status(View, frozen=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    annotations: dict[str, str] = {}


class ConfigurationStatus(Status, frozen=True):
    latest_created_revision_name: str = ""
    latest_ready_revision_name: str = ""


class RouteStatus(Status, frozen=True):
    url: str = ""
    address: Address | None = None
    traffic: list[TrafficTarget] = []


class ServiceStatus(ConfigurationStatus, frozen=True):
    url: str = ""
    address: Address | None = None
    traffic: list[TrafficTarget] = []


class ContainerStatus(View, frozen=True):
    name: str = ""
    image_digest: str = ""


class RevisionStatus(Status, frozen=True):
    log_url: str = ""
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    actual_replicas: int | None = None
    desired_replicas: int | None = None


class PodAutoscalerStatus(Status, frozen=True):
    service_name: str = ""
    metrics_service_name: str = ""
    desired_scale: int | None = None
    actual_scale: int | None = None


class Service(View, frozen=True):
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class Configuration(View, frozen=True):
    spec: ConfigurationSpec = ConfigurationSpec()
    status: ConfigurationStatus = ConfigurationStatus()


class Route(View, frozen=True):
    spec: RouteSpec = RouteSpec()
    status: RouteStatus = RouteStatus()


class Revision(View, frozen=True):
    spec: RevisionSpec = RevisionSpec()
    status: RevisionStatus = RevisionStatus()


class PodAutoscaler(View, frozen=True):
    spec: PodAutoscalerSpec = PodAutoscalerSpec()
    status: PodAutoscalerStatus = PodAutoscalerStatus()
