"""triggers.tekton.dev/v1beta1: EventListener, TriggerBinding, TriggerTemplate: kinds, views, validation.

Law: pure. What is known and not supported is refused by name: interceptors other than github and gitlab, references to
Trigger objects, trigger groups, cluster-wide bindings. Source: Tekton Triggers' API v1beta1. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from funcs.errors import FieldError

from .admission import Request, Rules
from .delivery import View
from .kinds import Column, Kind
from .meta import Object

_ALL = ("tekton", "tekton-triggers")

EVENT_LISTENER = Kind(
    group="triggers.tekton.dev", version="v1beta1", kind="EventListener", plural="eventlisteners", short_names=("el",),
    categories=_ALL,
    columns=(
        Column("Address", ".status.address.url"),
        Column("Available", ".status.conditions[?(@.type=='Available')].status"),
        Column("Reason", ".status.conditions[?(@.type=='Available')].reason"),
        Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
        Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
    ),
)  # fmt: skip
TRIGGER_BINDING = Kind(
    group="triggers.tekton.dev", version="v1beta1", kind="TriggerBinding", plural="triggerbindings",
    short_names=("tb",), categories=_ALL, status=False,
)  # fmt: skip
TRIGGER_TEMPLATE = Kind(
    group="triggers.tekton.dev", version="v1beta1", kind="TriggerTemplate", plural="triggertemplates",
    short_names=("tt",), categories=_ALL, status=False,
)  # fmt: skip

KINDS: tuple[Kind, ...] = (EVENT_LISTENER, TRIGGER_BINDING, TRIGGER_TEMPLATE)

INTERCEPTORS = ("github", "gitlab")
PAYLOAD_VALIDATION = "tekton.dev/payload-validation"
_DECLARED = re.compile(r"\$\(tt\.params\.([A-Za-z_][A-Za-z0-9_.-]*)\)")


class BoundParam(View, frozen=True):
    """A value, with `$(body.x)` and the like in it."""

    name: str
    value: str


class ParamSpec(View, frozen=True):
    """What a template asks for."""

    name: str
    description: str = ""
    default: str | None = None


class TriggerBindingSpec(View, frozen=True):
    params: tuple[BoundParam, ...] = ()


class TriggerBinding(View, frozen=True):
    spec: TriggerBindingSpec = TriggerBindingSpec()


class TriggerTemplateSpec(View, frozen=True):
    """`resourcetemplates` are any objects, raw, with `$(tt.params.x)` and `$(uid)` in their strings."""

    params: tuple[ParamSpec, ...] = ()
    resourcetemplates: tuple[dict[str, Any], ...] = ()


class TriggerTemplate(View, frozen=True):
    spec: TriggerTemplateSpec = TriggerTemplateSpec()


class SpecBinding(View, frozen=True):
    """A reference to a TriggerBinding, or a name and a value."""

    ref: str = ""
    kind: str = "TriggerBinding"
    name: str = ""
    value: str | None = None


class SpecTemplate(View, frozen=True):
    ref: str | None = None
    spec: TriggerTemplateSpec | None = None


class InterceptorReference(View, frozen=True):
    name: str = ""
    kind: str = "ClusterInterceptor"


class InterceptorParam(View, frozen=True):
    name: str
    value: Any = None


class Interceptor(View, frozen=True):
    ref: InterceptorReference = InterceptorReference()
    params: tuple[InterceptorParam, ...] = ()
    name: str = ""

    def param(self, name: str) -> Any:
        return next((param.value for param in self.params if param.name == name), None)


class ListenerTrigger(View, frozen=True):
    name: str = ""
    bindings: tuple[SpecBinding, ...] = ()
    template: SpecTemplate | None = None
    interceptors: tuple[Interceptor, ...] = ()
    service_account_name: str = ""
    trigger_ref: str = ""


class EventListenerSpec(View, frozen=True):
    """`resources` says how Tekton would run a listener; here one process serves them all, so it is kept and unused."""

    service_account_name: str = ""
    triggers: tuple[ListenerTrigger, ...] = ()
    trigger_groups: tuple[dict[str, Any], ...] = ()
    resources: dict[str, Any] = msgspec.field(default_factory=dict)


class ListenerAddress(View, frozen=True):
    url: str = ""


class ListenerConfiguration(View, frozen=True):
    generated_name: str = ""


class EventListenerStatus(View, frozen=True):
    address: ListenerAddress | None = None
    configuration: ListenerConfiguration | None = None
    observed_generation: int = 0
    conditions: tuple[dict[str, Any], ...] = ()


class EventListener(View, frozen=True):
    spec: EventListenerSpec = EventListenerSpec()
    status: EventListenerStatus = EventListenerStatus()


VIEWS: Mapping[Kind, type[msgspec.Struct]] = {
    EVENT_LISTENER: EventListener,
    TRIGGER_BINDING: TriggerBinding,
    TRIGGER_TEMPLATE: TriggerTemplate,
}


def _default_listener(request: Request) -> None:
    for trigger in (request.object.get("spec") or {}).get("triggers") or []:
        for interceptor in trigger.get("interceptors") or []:
            if interceptor.get("ref"):
                interceptor["ref"].setdefault("kind", "ClusterInterceptor")
        for binding in trigger.get("bindings") or []:
            if binding.get("ref"):
                binding.setdefault("kind", "TriggerBinding")


def _validate_listener(request: Request) -> list[FieldError]:
    try:
        spec = msgspec.convert(request.object, EventListener).spec
    except msgspec.ValidationError as error:
        return [_misshapen(error)]
    problems: list[FieldError] = []
    if spec.trigger_groups:
        problems.append(FieldError("trigger groups are not supported", "spec.triggerGroups", "list spec.triggers"))
    if not spec.triggers and not spec.trigger_groups:
        problems.append(FieldError("missing field(s)", "spec.triggers"))
    for position, trigger in enumerate(spec.triggers):
        problems += _trigger_problems(trigger, f"spec.triggers[{position}]")
    return problems


def _trigger_problems(trigger: ListenerTrigger, path: str) -> list[FieldError]:
    if trigger.trigger_ref:
        return [FieldError("references to Trigger objects are not supported", f"{path}.triggerRef", "write it inline")]
    problems: list[FieldError] = []
    for position, binding in enumerate(trigger.bindings):
        problems += _binding_problems(binding, f"{path}.bindings[{position}]")
    for position, interceptor in enumerate(trigger.interceptors):
        problems += _interceptor_problems(interceptor, f"{path}.interceptors[{position}]")
    template = trigger.template
    if template is None or not (template.ref or template.spec):
        return [*problems, FieldError("missing field(s)", f"{path}.template")]
    if template.ref and template.spec:
        problems.append(FieldError("expected exactly one, got both", f"{path}.template.ref, {path}.template.spec"))
    if template.spec is not None:
        problems += _template_problems(template.spec, f"{path}.template.spec")
    return problems


def _binding_problems(binding: SpecBinding, path: str) -> list[FieldError]:
    if binding.kind not in ("", "TriggerBinding"):
        return [FieldError(f'invalid value "{binding.kind}": only TriggerBinding is supported', f"{path}.kind")]
    if bool(binding.ref) == bool(binding.name):
        return [FieldError("expected exactly one of a reference and a name with its value", f"{path}.ref, {path}.name")]
    if binding.name and binding.value is None:
        return [FieldError("missing field(s)", f"{path}.value")]
    return []


def _interceptor_problems(interceptor: Interceptor, path: str) -> list[FieldError]:
    if interceptor.ref.name not in INTERCEPTORS or interceptor.ref.kind not in ("", "ClusterInterceptor"):
        named = interceptor.ref.name or "without a ref"
        known = ", ".join(INTERCEPTORS)
        return [FieldError(f"the interceptor {named} is not supported", f"{path}.ref.name", f"supported: {known}")]
    secret = interceptor.param("secretRef")
    if secret is not None and not (isinstance(secret, dict) and secret.get("secretName") and secret.get("secretKey")):
        return [FieldError("missing field(s)", f"{path}.params[secretRef].secretName, secretKey")]
    types = interceptor.param("eventTypes")
    if types is not None and not (isinstance(types, list) and all(isinstance(found, str) for found in types)):
        return [FieldError("expected a list of strings", f"{path}.params[eventTypes]")]
    known_params = {"secretRef", "eventTypes"}
    return [
        FieldError(f"the parameter {param.name} is not supported", f"{path}.params[{param.name}]")
        for param in interceptor.params
        if param.name not in known_params
    ]


def _validate_binding(request: Request) -> list[FieldError]:
    try:
        spec = msgspec.convert(request.object, TriggerBinding).spec
    except msgspec.ValidationError as error:
        return [_misshapen(error)]
    names = [param.name for param in spec.params]
    return [
        FieldError("expected exactly one, got both", f"spec.params[{name}].name")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]


def _validate_template(request: Request) -> list[FieldError]:
    try:
        spec = msgspec.convert(request.object, TriggerTemplate).spec
    except msgspec.ValidationError as error:
        return [_misshapen(error)]
    return _template_problems(spec, "spec")


def _template_problems(spec: TriggerTemplateSpec, path: str) -> list[FieldError]:
    if not spec.resourcetemplates:
        return [FieldError("missing field(s)", f"{path}.resourcetemplates")]
    declared = {param.name for param in spec.params}
    problems: list[FieldError] = []
    for position, resource in enumerate(spec.resourcetemplates):
        at = f"{path}.resourcetemplates[{position}]"
        problems += [FieldError("missing field(s)", f"{at}.{field}") for field in ("apiVersion", "kind")
                     if not resource.get(field)]  # fmt: skip
        problems += [
            FieldError(f"undeclared param '$(tt.params.{name})'", at)
            for name in _used(resource)
            if name not in declared
        ]
    return problems


def _used(resource: Object) -> list[str]:
    text = msgspec.json.encode(resource).decode()
    return sorted(set(_DECLARED.findall(text)))


def _misshapen(error: msgspec.ValidationError) -> FieldError:
    message, _, path = str(error).partition(" - at ")
    return FieldError(message, path.strip("`").removeprefix("$."))


RULES: Mapping[Kind, Rules] = {
    EVENT_LISTENER: Rules(default=_default_listener, validate=_validate_listener),
    TRIGGER_BINDING: Rules(validate=_validate_binding),
    TRIGGER_TEMPLATE: Rules(validate=_validate_template),
}
