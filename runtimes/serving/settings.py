"""Settings of Serving: built once at the top, passed down whole.

Law: frozen; defaults are upstream's; config maps override them by name, annotations of a revision override both. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from funcs.api import autoscaling as keys
from funcs.api import duration, meta
from funcs.api.meta import Object
from funcs.api.serving_keys import PROGRESS_DEADLINE, first
from funcs.errors import Invalid

CONFIG_NAMESPACE = "knative-serving"
CONFIG_AUTOSCALER = "config-autoscaler"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalerSettings:
    """ConfigMap config-autoscaler. Durations in seconds, percentages as fractions."""

    target_utilization: float = 0.7
    concurrency_target: float = 100.0
    rps_target: float = 200.0
    burst_capacity: float = 211.0
    stable_window: float = 60.0
    panic_window: float = 0.1
    panic_threshold: float = 2.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    scale_to_zero: bool = True
    scale_to_zero_grace: float = 30.0
    pod_retention: float = 0.0
    initial_scale: int = 1
    min_scale: int = 0
    max_scale: int = 0
    scale_down_delay: float = 0.0
    tick: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """`external_port` None leaves the port out of URLs (80)."""

    domain: str = "localhost"
    external_port: int | None = None
    cluster_domain: str = "cluster.local"
    progress_deadline: float = 600.0
    digest_timeout: float = 10.0
    digest_retry: float = 5.0
    skip_digest_registries: tuple[str, ...] = ("kind.local", "ko.local", "dev.local")
    autoscaler: AutoscalerSettings = field(default_factory=AutoscalerSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How one revision is scaled: the cluster's settings with the revision's annotations on top.

    `total` is what one pod can take, `target` what one pod is wanted to carry; `reachable` None is not known yet.
    """

    metric: str = "concurrency"
    total: float = 100.0
    target: float = 70.0
    stable_window: float = 60.0
    panic_window: float = 6.0
    panic_threshold: float = 2.0
    max_up_rate: float = 1000.0
    max_down_rate: float = 2.0
    burst_capacity: float = 211.0
    min_scale: int = 0
    max_scale: int = 0
    initial_scale: int = 1
    activation_scale: int = 1
    scale_down_delay: float = 0.0
    grace: float = 30.0
    retention: float = 0.0
    scale_to_zero: bool = True
    reachable: bool | None = None
    progress_deadline: float = 600.0


def autoscaler_settings(data: Mapping[str, str], default: AutoscalerSettings) -> AutoscalerSettings:
    """The data of config-autoscaler over `default`. A value that cannot be read keeps the default."""
    read = _Reader(data)
    return AutoscalerSettings(
        target_utilization=read.fraction("container-concurrency-target-percentage", default.target_utilization),
        concurrency_target=read.number("container-concurrency-target-default", default.concurrency_target),
        rps_target=read.number("requests-per-second-target-default", default.rps_target),
        burst_capacity=read.number("target-burst-capacity", default.burst_capacity),
        stable_window=max(read.seconds("stable-window", default.stable_window), 1.0),
        panic_window=read.fraction("panic-window-percentage", default.panic_window),
        panic_threshold=read.number("panic-threshold-percentage", default.panic_threshold * 100) / 100,
        max_scale_up_rate=read.number("max-scale-up-rate", default.max_scale_up_rate),
        max_scale_down_rate=max(read.number("max-scale-down-rate", default.max_scale_down_rate), 1.0),
        scale_to_zero=data.get("enable-scale-to-zero", str(default.scale_to_zero)).lower() == "true",
        scale_to_zero_grace=read.seconds("scale-to-zero-grace-period", default.scale_to_zero_grace),
        pod_retention=read.seconds("scale-to-zero-pod-retention-period", default.pod_retention),
        initial_scale=int(read.number("initial-scale", default.initial_scale)),
        min_scale=int(read.number("min-scale", default.min_scale)),
        max_scale=int(read.number("max-scale", default.max_scale)),
        scale_down_delay=read.seconds("scale-down-delay", default.scale_down_delay),
        tick=default.tick,
    )


def scaling_of(autoscaler: Object, settings: AutoscalerSettings, progress_deadline: float) -> Scaling:
    """What a PodAutoscaler asks for."""
    found, spec = meta.annotations(autoscaler), meta.spec(autoscaler)
    metric = found.get(keys.METRIC[0], "concurrency")
    window = keys.seconds(found, keys.WINDOW, settings.stable_window)
    limit = float(spec.get("containerConcurrency") or 0)
    total, target = _targets(found, metric, limit, settings)
    minimum = int(keys.number(found, keys.MIN_SCALE, settings.min_scale))
    return Scaling(
        metric=metric,
        total=total,
        target=target,
        stable_window=window,
        panic_window=max(1.0, round(window * keys.number(found, keys.PANIC_WINDOW, settings.panic_window * 100) / 100)),
        panic_threshold=keys.number(found, keys.PANIC_THRESHOLD, settings.panic_threshold * 100) / 100,
        max_up_rate=settings.max_scale_up_rate,
        max_down_rate=settings.max_scale_down_rate,
        burst_capacity=keys.number(found, keys.BURST_CAPACITY, settings.burst_capacity),
        min_scale=minimum if settings.scale_to_zero else max(minimum, 1),
        max_scale=int(keys.number(found, keys.MAX_SCALE, settings.max_scale)),
        initial_scale=int(keys.number(found, keys.INITIAL_SCALE, settings.initial_scale)),
        activation_scale=int(keys.number(found, keys.ACTIVATION_SCALE, 1)),
        scale_down_delay=keys.seconds(found, keys.SCALE_DOWN_DELAY, settings.scale_down_delay),
        grace=settings.scale_to_zero_grace,
        retention=keys.seconds(found, keys.RETENTION, settings.pod_retention),
        scale_to_zero=settings.scale_to_zero,
        reachable={"Reachable": True, "Unreachable": False}.get(spec.get("reachability") or ""),
        progress_deadline=progress_deadline,
    )


def progress_deadline(annotations: Mapping[str, str], settings: ServingSettings) -> float:
    """Seconds a revision has to come up."""
    named = first(annotations, PROGRESS_DEADLINE)
    return _seconds(named[1], settings.progress_deadline) if named else settings.progress_deadline


def _targets(found: Mapping[str, str], metric: str, limit: float, settings: AutoscalerSettings) -> tuple[float, float]:
    """(total, target) of one pod; an annotation cannot ask a pod for more than containerConcurrency."""
    if metric == "rps":
        total = keys.number(found, keys.TARGET, settings.rps_target)
    else:
        total = keys.number(found, keys.TARGET, limit or settings.concurrency_target)
        total = min(total, limit) if limit else total
    utilization = keys.number(found, keys.UTILIZATION, settings.target_utilization * 100) / 100
    return total, max(0.01, total * utilization)


@dataclass(frozen=True, slots=True)
class _Reader:
    data: Mapping[str, str]

    def number(self, key: str, default: float) -> float:
        try:
            return float(self.data.get(key, default))
        except ValueError:
            return default

    def fraction(self, key: str, default: float) -> float:
        """Upstream writes 70, 70.0 or 0.7."""
        value = self.number(key, default)
        return value / 100 if value > 1 else value

    def seconds(self, key: str, default: float) -> float:
        return _seconds(self.data[key], default) if key in self.data else default


def _seconds(text: str, default: float) -> float:
    try:
        return duration.parse(text)
    except Invalid:
        return default
