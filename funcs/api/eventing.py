"""eventing.knative.dev: Broker and Trigger: kinds, typed views, defaulting, validation.

Law: pure; config maps are arguments. The class that is served is Knative's `MTChannelBasedBroker`, whatever stands
behind the name: it is what existing manifests ask for. Brokers of another class are left alone. Sources: Knative
eventing's CRDs, webhooks and control-plane specification. No IO.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from funcs.errors import FieldError, Invalid

from . import meta
from .admission import Request, Rules
from .delivery import Delivery, Destination, Reference, View, delivery_problems, destination_problems, missing
from .kinds import Column, Kind
from .meta import Object

_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_READY = (
    Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
    Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
)

BROKER = Kind(
    group="eventing.knative.dev", version="v1", kind="Broker", plural="brokers",
    categories=("all", "knative", "eventing"),
    columns=(Column("URL", ".status.address.url"), _AGE, *_READY),
)  # fmt: skip
TRIGGER = Kind(
    group="eventing.knative.dev", version="v1", kind="Trigger", plural="triggers",
    categories=("all", "knative", "eventing"),
    columns=(Column("Broker", ".spec.broker"), Column("Subscriber_URI", ".status.subscriberUri"), _AGE, *_READY),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (BROKER, TRIGGER)

CLASS_ANNOTATION = "eventing.knative.dev/broker.class"
CLASS = "MTChannelBasedBroker"
BROKER_LABEL = "eventing.knative.dev/broker"
INJECTION = "eventing.knative.dev/injection"
DEPENDENCY_ANNOTATION = "knative.dev/dependency"
DEFAULT_BROKER = "default"
DEFAULT_DELIVERY: Mapping[str, Any] = {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}

_AnyView = TypeVar("_AnyView", bound=View)
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9]*")
_DIALECTS = ("exact", "prefix", "suffix", "all", "any", "not", "cesql")
_DEEPEST = 16


class BrokerSpec(View, frozen=True):
    config: Reference | None = None
    delivery: Delivery | None = None


class Address(View, frozen=True):
    name: str | None = None
    url: str = ""


class BrokerStatus(View, frozen=True):
    address: Address | None = None
    dead_letter_sink_uri: str | None = None
    observed_generation: int = 0
    conditions: tuple[dict[str, Any], ...] = ()
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Broker(View, frozen=True):
    spec: BrokerSpec = BrokerSpec()
    status: BrokerStatus = BrokerStatus()


class AttributesFilter(View, frozen=True):
    """The legacy filter: every attribute equal, "" meaning present."""

    attributes: dict[str, str] = msgspec.field(default_factory=dict)


class TriggerSpec(View, frozen=True):
    """`filters`, where not empty, overrides `filter`; its elements nest, so they stay raw."""

    broker: str = ""
    subscriber: Destination = Destination()
    filter: AttributesFilter | None = None
    filters: tuple[dict[str, Any], ...] = ()
    delivery: Delivery | None = None


class TriggerStatus(View, frozen=True):
    subscriber_uri: str | None = None
    dead_letter_sink_uri: str | None = None
    observed_generation: int = 0
    conditions: tuple[dict[str, Any], ...] = ()
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Trigger(View, frozen=True):
    spec: TriggerSpec = TriggerSpec()
    status: TriggerStatus = TriggerStatus()


VIEWS: Mapping[Kind, type[msgspec.Struct]] = {BROKER: Broker, TRIGGER: Trigger}


def _default_broker(request: Request) -> None:
    annotations = request.object.setdefault("metadata", {}).setdefault("annotations", {})
    annotations.setdefault(CLASS_ANNOTATION, CLASS)
    spec = request.object.setdefault("spec", {})
    if annotations[CLASS_ANNOTATION] == CLASS and not spec.get("delivery"):
        spec["delivery"] = dict(DEFAULT_DELIVERY)
    _default_namespaces(meta.namespace(request.object), spec.get("config"), _sink(spec))


def _default_trigger(request: Request) -> None:
    spec = request.object.setdefault("spec", {})
    if not spec.get("broker"):
        spec["broker"] = DEFAULT_BROKER
    labels = request.object.setdefault("metadata", {}).setdefault("labels", {})
    labels[BROKER_LABEL] = spec["broker"]
    _default_namespaces(meta.namespace(request.object), (spec.get("subscriber") or {}).get("ref"), _sink(spec))


def _sink(spec: Object) -> Object | None:
    """The reference of the dead letter sink, if there is one."""
    found: Object | None = ((spec.get("delivery") or {}).get("deadLetterSink") or {}).get("ref")
    return found


def _default_namespaces(namespace: str, *references: Object | None) -> None:
    for reference in references:
        if reference and not reference.get("namespace"):
            reference["namespace"] = namespace


def _validate_broker(request: Request) -> list[FieldError]:
    view, problems = _view(request.object, Broker)
    if view is None:
        return problems
    problems = delivery_problems(view.spec.delivery, "spec.delivery")
    config = view.spec.config
    if config is not None:
        problems += missing(config, "spec.config", ("kind", "name", "api_version"))
    if request.old is not None:
        problems += _changed(request, "annotations", lambda obj: meta.annotations(obj).get(CLASS_ANNOTATION))
        problems += _changed(request, "spec.config", lambda obj: meta.spec(obj).get("config"))
    return problems


def _validate_trigger(request: Request) -> list[FieldError]:
    view, problems = _view(request.object, Trigger)
    if view is None:
        return problems
    spec = view.spec
    problems = [] if spec.broker else [FieldError("missing field(s)", "spec.broker")]
    problems += _attribute_names(spec.filter.attributes if spec.filter else {}, "spec.filter.attributes")
    for position, found in enumerate(spec.filters):
        problems += _filter_problems(found, f"spec.filters[{position}]", 1)
    problems += destination_problems(spec.subscriber, "spec.subscriber")
    problems += delivery_problems(spec.delivery, "spec.delivery")
    problems += _annotation_problems(request.object, spec.broker)
    if request.old is not None:
        problems += _changed(request, "spec.broker", lambda obj: meta.spec(obj).get("broker"))
    return problems


def _view(obj: Object, type: type[_AnyView]) -> tuple[_AnyView | None, list[FieldError]]:
    try:
        return msgspec.convert(obj, type), []
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        return None, [FieldError(message, path.strip("`").removeprefix("$."))]


def _changed(request: Request, path: str, read: Any) -> list[FieldError]:
    before, after = read(request.old), read(request.object)
    if before == after:
        return []
    return [FieldError("Immutable fields changed (-old +new)", path, f"-{json.dumps(before)}\n+{json.dumps(after)}")]


def _filter_problems(found: object, path: str, depth: int) -> list[FieldError]:
    """One element of `filters`: exactly one dialect, and what that dialect asks."""
    if not isinstance(found, dict):
        return [FieldError("a filter must be an object", path)]
    if depth > _DEEPEST:
        return [FieldError(f"filters may nest {_DEEPEST} deep at most", path)]
    given = [name for name in _DIALECTS if found.get(name)]
    unknown = sorted(set(found) - set(_DIALECTS))
    if unknown:
        return [FieldError(f"unknown filter dialect(s) {', '.join(unknown)}", path, f"known: {', '.join(_DIALECTS)}")]
    if len(given) > 1:
        return [FieldError("multiple dialects found, filters can have only one dialect set", path)]
    if not given:
        return [FieldError("no dialect found, a filter must have exactly one dialect set", path)]
    return _dialect_problems(given[0], found[given[0]], f"{path}.{given[0]}", depth)


def _dialect_problems(dialect: str, value: object, path: str, depth: int) -> list[FieldError]:
    if dialect == "cesql":
        return [FieldError("the cesql dialect is not supported", path, "use exact, prefix, suffix, all, any, not")]
    if dialect == "not":
        return _filter_problems(value, path, depth + 1)
    if dialect in ("all", "any"):
        if not isinstance(value, list):
            return [FieldError("expected a list of filters", path)]
        nested = (_filter_problems(found, f"{path}[{at}]", depth + 1) for at, found in enumerate(value))
        return [problem for problems in nested for problem in problems]
    if not isinstance(value, dict):
        return [FieldError("expected a mapping of attribute to value", path)]
    empty = [FieldError("invalid value: must be a non-empty string", f"{path}[{name}]")
             for name, wanted in value.items() if not isinstance(wanted, str) or not wanted]  # fmt: skip
    return _attribute_names(value, path) + empty


def _attribute_names(attributes: Mapping[str, Any], path: str) -> list[FieldError]:
    return [
        FieldError(
            f'invalid key name "{name}"',
            f"{path}[{name}]",
            "Attribute name must start with a letter and can only contain lowercase alphanumeric",
        )
        for name in attributes
        if not _ATTRIBUTE.fullmatch(name)
    ]


def _annotation_problems(obj: Object, broker: str) -> list[FieldError]:
    annotations = meta.annotations(obj)
    problems: list[FieldError] = []
    injection = annotations.get(INJECTION)
    path = f"metadata.annotations[{INJECTION}]"
    if injection is not None and injection not in ("enabled", "disabled"):
        message = f'The provided injection annotation value can only be "enabled" or "disabled", not "{injection}"'
        problems.append(FieldError(message, path))
    elif injection is not None and broker != DEFAULT_BROKER:
        message = (
            "The provided injection annotation is only used for default broker, "
            f'but non-default broker specified here: "{broker}"'
        )
        problems.append(FieldError(message, path))
    if DEPENDENCY_ANNOTATION in annotations:
        problems += _dependency_problems(annotations[DEPENDENCY_ANNOTATION], meta.namespace(obj))
    return problems


def dependency(annotation: str) -> Reference:
    """The reference that `knative.dev/dependency` holds, as JSON. Raises Invalid."""
    try:
        return msgspec.json.decode(annotation, type=Reference)
    except msgspec.MsgspecError as error:
        raise Invalid(f'The provided annotation was not a corev1.ObjectReference: "{annotation}": {error}') from error


def _dependency_problems(annotation: str, namespace: str) -> list[FieldError]:
    path = f"metadata.annotations[{DEPENDENCY_ANNOTATION}]"
    try:
        found = dependency(annotation)
    except Invalid as error:
        return [FieldError(error.message, path)]
    problems = missing(found, path, ("kind", "name", "api_version"))
    if found.namespace not in ("", namespace):
        message = f'Namespace must be empty or equal to the trigger namespace "{namespace}"'
        problems.append(FieldError(message, f"{path}.namespace"))
    return problems


RULES: Mapping[Kind, Rules] = {
    BROKER: Rules(default=_default_broker, validate=_validate_broker),
    TRIGGER: Rules(default=_default_trigger, validate=_validate_trigger),
}
