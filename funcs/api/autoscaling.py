"""Autoscaling annotations of a revision: how they are spelt, read and checked.

Law: an annotation is read by one name here, whichever of its spellings was used; texts of refusals are upstream's.
Source: knative.dev/serving, packages autoscaling and autoscalerconfig. No IO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from funcs.errors import FieldError, Invalid

from . import duration
from .serving_keys import AUTOSCALING, first

KPA = "kpa.autoscaling.knative.dev"
HPA = "hpa.autoscaling.knative.dev"
_MAX_INT32 = 2**31 - 1
_WINDOW_MIN, _WINDOW_MAX = 6.0, 3600.0

CLASS = (AUTOSCALING + "class",)
METRIC = (AUTOSCALING + "metric",)
TARGET = (AUTOSCALING + "target",)
WINDOW = (AUTOSCALING + "window",)
MIN_SCALE = (AUTOSCALING + "min-scale", AUTOSCALING + "minScale")
MAX_SCALE = (AUTOSCALING + "max-scale", AUTOSCALING + "maxScale")
INITIAL_SCALE = (AUTOSCALING + "initial-scale", AUTOSCALING + "initialScale")
ACTIVATION_SCALE = (AUTOSCALING + "activation-scale", AUTOSCALING + "activationScale")
SCALE_DOWN_DELAY = (AUTOSCALING + "scale-down-delay", AUTOSCALING + "scaleDownDelay")
RETENTION = (AUTOSCALING + "scale-to-zero-pod-retention-period", AUTOSCALING + "scaleToZeroPodRetentionPeriod")
UTILIZATION = (AUTOSCALING + "target-utilization-percentage", AUTOSCALING + "targetUtilizationPercentage")
BURST_CAPACITY = (AUTOSCALING + "target-burst-capacity", AUTOSCALING + "targetBurstCapacity")
PANIC_WINDOW = (AUTOSCALING + "panic-window-percentage", AUTOSCALING + "panicWindowPercentage")
PANIC_THRESHOLD = (AUTOSCALING + "panic-threshold-percentage", AUTOSCALING + "panicThresholdPercentage")
ALGORITHM = (AUTOSCALING + "metric-aggregation-algorithm", AUTOSCALING + "metricAggregationAlgorithm")

Annotations = Mapping[str, str]
Config = Mapping[str, str]


def number(annotations: Annotations, keys: tuple[str, ...], default: float) -> float:
    """The value as a number, or `default` when absent or not a number (admission has refused those)."""
    found = first(annotations, keys)
    try:
        return float(found[1]) if found else default
    except ValueError:
        return default


def seconds(annotations: Annotations, keys: tuple[str, ...], default: float) -> float:
    """The value as a duration in seconds, or `default`."""
    found = first(annotations, keys)
    try:
        return duration.parse(found[1]) if found else default
    except Invalid:
        return default


def validate(annotations: Annotations, config: Config) -> list[FieldError]:
    """What is wrong with them; `config` is the data of config-autoscaler. Paths are the annotation keys."""
    checks = (_class, _scales, _floats, _window, _delay, _retention, _metric, _algorithm, _initial)
    return [problem for check in checks for problem in check(annotations, config)]


def _class(found: Annotations, config: Config) -> list[FieldError]:
    value = found.get(CLASS[0], KPA)
    if value.endswith("autoscaling.knative.dev") and value not in (KPA, HPA):
        return [_invalid(value, CLASS[0])]
    return []


def _scales(found: Annotations, config: Config) -> list[FieldError]:
    least, problems = _whole(found, MIN_SCALE)
    most, more = _whole(found, MAX_SCALE)
    problems += more
    if most != 0 and most < least:
        problems.append(
            FieldError(f"max-scale={most} is less than min-scale={least}", f"{MAX_SCALE[0]}, {MIN_SCALE[0]}")
        )
    problems += _within_limit(found, most, config)
    return problems + _activation(found, least, most)


def _within_limit(found: Annotations, most: int, config: Config) -> list[FieldError]:
    limit = int(config.get("max-scale-limit") or 0)
    named = first(found, MAX_SCALE)
    if named is None or limit == 0:
        return []
    if most > limit:
        return [_bounds(str(most), "1", str(limit), named[0])]
    if most == 0:
        return [FieldError(f"max-scale=0 (unlimited), must be less than {limit}", named[0])]
    return []


def _activation(found: Annotations, least: int, most: int) -> list[FieldError]:
    named = first(found, ACTIVATION_SCALE)
    if named is None:
        return []
    key, text = named
    value = _int32(text)
    if value is None:
        return [_invalid(text, key)]
    if least > value:
        return [FieldError(f"min-scale={least} is greater than min-activate-scale={value}", key)]
    if 0 != most < value:
        return [FieldError(f"max-scale={most} is less than min-activate-scale={value}", key)]
    if value < 2:
        return [FieldError(f"min-activate-scale={value} must be greater than 1", key)]
    return []


def _floats(found: Annotations, config: Config) -> list[FieldError]:
    problems = _between(found, PANIC_WINDOW, 1, 100) + _between(found, PANIC_THRESHOLD, 110, 1000)
    problems += _between(found, UTILIZATION, 1, 100)
    problems += _judged(
        found, TARGET, lambda value: value >= 0.01, lambda text: f"target {text} should be at least 0.01"
    )
    return problems + _judged(found, BURST_CAPACITY, lambda value: value >= 0 or value == -1)


def _window(found: Annotations, config: Config) -> list[FieldError]:
    named = first(found, WINDOW)
    if named is None:
        return []
    try:
        value = duration.parse(named[1])
    except Invalid:
        return [_invalid(named[1], WINDOW[0])]
    if not _WINDOW_MIN <= value <= _WINDOW_MAX:
        return [_bounds(named[1], "6s", "1h0m0s", WINDOW[0])]
    return _whole_seconds(value, WINDOW[0])


def _delay(found: Annotations, config: Config) -> list[FieldError]:
    return _up_to_an_hour(found, SCALE_DOWN_DELAY, whole=True)


def _retention(found: Annotations, config: Config) -> list[FieldError]:
    return _up_to_an_hour(found, RETENTION, whole=False)


def _metric(found: Annotations, config: Config) -> list[FieldError]:
    metric = found.get(METRIC[0])
    if metric is None:
        return []
    scaler = found.get(CLASS[0], KPA)
    if (scaler == KPA and metric not in ("concurrency", "rps")) or (scaler == HPA and metric == ""):
        return [_invalid(metric, METRIC[0])]
    return []


def _algorithm(found: Annotations, config: Config) -> list[FieldError]:
    named = first(found, ALGORITHM)
    if named is None or found.get(CLASS[0]) != KPA:
        return []
    if named[1] not in ("", "linear", "weightedExponential", "weighted-exponential"):
        return [_invalid(named[1], named[0])]
    return []


def _initial(found: Annotations, config: Config) -> list[FieldError]:
    named = first(found, INITIAL_SCALE)
    if named is None:
        return []
    key, text = named
    value = _int32(text)
    if value is None:
        return [_invalid(text, key)]
    if value < 0:
        return [_invalid(text, f"{key} must be greater than 0")]
    if value == 0 and config.get("allow-zero-initial-scale", "false") != "true":
        return [_invalid(text, f"{key}=0 not allowed by cluster")]
    return []


def _whole(found: Annotations, keys: tuple[str, ...]) -> tuple[int, list[FieldError]]:
    named = first(found, keys)
    if named is None:
        return 0, []
    key, text = named
    try:
        value = int(text)
    except ValueError:
        return 0, [_invalid(text, key)]
    if not 0 <= value <= _MAX_INT32:
        return 0, [_bounds(text, "0", str(_MAX_INT32), key)]
    return value, []


def _between(found: Annotations, keys: tuple[str, ...], low: float, high: float) -> list[FieldError]:
    named = first(found, keys)
    if named is None:
        return []
    value = _finite(named[1])
    if value is None:
        return [_invalid(named[1], named[0])]
    return [] if low <= value <= high else [_bounds(named[1], f"{low:g}", f"{high:g}", named[0])]


def _judged(
    found: Annotations,
    keys: tuple[str, ...],
    good: Callable[[float], bool],
    complaint: Callable[[str], str] | None = None,
) -> list[FieldError]:
    named = first(found, keys)
    if named is None:
        return []
    value = _finite(named[1])
    if value is not None and good(value):
        return []
    if value is None or complaint is None:
        return [_invalid(named[1], named[0])]
    return [FieldError(complaint(named[1]), named[0])]


def _up_to_an_hour(found: Annotations, keys: tuple[str, ...], *, whole: bool) -> list[FieldError]:
    named = first(found, keys)
    if named is None:
        return []
    key, text = named
    try:
        value = duration.parse(text)
    except Invalid:
        return [_invalid(text, key)]
    if not 0 <= value <= _WINDOW_MAX:
        return [_bounds(text, "0s", "1h0m0s", key)]
    return _whole_seconds(value, key) if whole else []


def _whole_seconds(value: float, key: str) -> list[FieldError]:
    return [] if value == int(value) else [FieldError("must be specified with at most second precision", key)]


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _int32(text: str) -> int | None:
    try:
        value = int(text)
    except ValueError:
        return None
    return value if abs(value) <= _MAX_INT32 else None


def _invalid(value: str, key: str) -> FieldError:
    return FieldError(f"invalid value: {value}", key)


def _bounds(value: str, low: str, high: str, key: str) -> FieldError:
    return FieldError(f"expected {low} <= {value} <= {high}", key)
