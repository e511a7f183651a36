"""One event against one EventListener: which triggers fire, and what they make.

Law: triggers are independent: one that is stopped or fails keeps nobody else from firing. Nothing is created before a
trigger's whole chain has passed. IO: the client's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from funcs.api import catalog, core, meta
from funcs.api.meta import Key, Object
from funcs.api.triggers import (
    TRIGGER_BINDING,
    TRIGGER_TEMPLATE,
    BoundParam,
    EventListener,
    Interceptor,
    ListenerTrigger,
    TriggerBinding,
    TriggerTemplate,
    TriggerTemplateSpec,
)
from funcs.control.client import Client, WriteOptions
from funcs.errors import FuncsError, Invalid

from . import bindings, interceptors, templates
from .bindings import Event


@dataclass(slots=True)
class Outcome:
    """What an event led to: the objects made, and by trigger why it made none."""

    created: list[Object] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as it came to a listener. `body` are the raw bytes, of which `event` holds the decoded form."""

    listener: Key
    event: Event
    body: bytes


class Firing:
    """Runs an event through a listener's triggers. `uid` makes the value of `$(uid)`."""

    def __init__(self, client: Client, uid: Callable[[], str]) -> None:
        self._client = client
        self._uid = uid

    async def fire(self, listener: EventListener, delivery: Delivery) -> Outcome:
        outcome = Outcome()
        for position, trigger in enumerate(listener.spec.triggers):
            name = trigger.name or str(position)
            try:
                await self._pull(listener, trigger, delivery, outcome)
            except FuncsError as error:
                outcome.refused[name] = error.message
        return outcome

    async def _pull(
        self, listener: EventListener, trigger: ListenerTrigger, delivery: Delivery, outcome: Outcome
    ) -> None:
        namespace = delivery.listener.namespace
        for interceptor in trigger.interceptors:
            secret = await self._secret(interceptor, namespace)
            interceptors.check(interceptor, delivery.event.headers, delivery.body, secret)
        spec = await self._template(trigger, namespace)
        params = await self._params(trigger, namespace)
        values = bindings.evaluate(params, delivery.event, templates.defaults(spec))
        labels = {
            "eventlistener": delivery.listener.name,
            "trigger": trigger.name,
            "triggers-eventid": delivery.event.id,
        }
        account = trigger.service_account_name or listener.spec.service_account_name or "default"
        options = WriteOptions(manager="triggers", user=f"system:serviceaccount:{namespace}:{account}")
        for resource in templates.render(spec, values, self._uid()):
            await self._create(templates.labelled(resource, namespace, labels), options, outcome)

    async def _create(self, resource: Object, options: WriteOptions, outcome: Outcome) -> None:
        outcome.created.append(await self._client.create(catalog.kind_of(resource), resource, options))

    async def _secret(self, interceptor: Interceptor, namespace: str) -> bytes | None:
        """The bytes that `secretRef` refers to, None if there is no such param. Raises NotFound, Invalid."""
        reference = interceptor.param("secretRef")
        if not reference:
            return None
        name, key = reference["secretName"], reference["secretKey"]
        secret = await self._client.get(core.SECRET, name, namespace)
        encoded = (secret.get("data") or {}).get(key)
        if encoded is None:
            raise Invalid(f'secret "{name}" has no key "{key}"', reason="MissingSecretKey")
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise Invalid(f'key "{key}" of secret "{name}" is not base64') from error

    async def _template(self, trigger: ListenerTrigger, namespace: str) -> TriggerTemplateSpec:
        template = trigger.template
        if template is None:
            raise Invalid("the trigger has no template")
        if template.spec is not None:
            return template.spec
        found = await self._client.get(TRIGGER_TEMPLATE, template.ref or "", namespace)
        return msgspec.convert(found, TriggerTemplate).spec

    async def _params(self, trigger: ListenerTrigger, namespace: str) -> list[BoundParam]:
        params: list[BoundParam] = []
        for binding in trigger.bindings:
            if binding.name:
                params.append(BoundParam(name=binding.name, value=binding.value or ""))
            else:
                found = await self._client.get(TRIGGER_BINDING, binding.ref, namespace)
                params += msgspec.convert(found, TriggerBinding).spec.params
        return params


def described(outcome: Outcome) -> Mapping[str, str]:
    """For a log line: what was made, and why not."""
    made = ", ".join(f"{found['kind']}/{meta.name(found)}" for found in outcome.created)
    return {"created": made or "nothing", **outcome.refused}
