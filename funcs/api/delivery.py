"""Destinations and deliveries: what brokers, triggers, channels and sources say in the same words.

Law: pure; a problem names its field and how to write it. Sources: Knative's duck types Destination (knative.dev/pkg)
and DeliverySpec (knative.dev/eventing), with the messages of their validation. No IO.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from funcs.errors import FieldError, Invalid

from . import period


class View(msgspec.Struct, frozen=True, rename="camel"):
    """What all views share: camelCase on the wire, unknown fields left to the raw object."""


class Reference(View, frozen=True):
    """An object with an address. `namespace` "" means the referrer's."""

    kind: str = ""
    name: str = ""
    api_version: str = ""
    namespace: str = ""
    group: str = ""


class Destination(View, frozen=True):
    """Where events go: a reference, an absolute URI, or a reference and a URI relative to its address."""

    ref: Reference | None = None
    uri: str | None = None
    ca_certs: str | None = msgspec.field(default=None, name="CACerts")
    audience: str | None = None


class Delivery(View, frozen=True):
    """How hard to try. Durations are ISO-8601."""

    dead_letter_sink: Destination | None = None
    retry: int | None = None
    timeout: str | None = None
    backoff_policy: str | None = None
    backoff_delay: str | None = None
    retry_after_max: str | None = None
    format: str | None = None


def delivery_problems(delivery: Delivery | None, path: str) -> list[FieldError]:
    if delivery is None:
        return []
    problems = destination_problems(delivery.dead_letter_sink, f"{path}.deadLetterSink")
    if delivery.retry is not None and delivery.retry < 0:
        problems.append(FieldError(f'invalid value "{delivery.retry}"', f"{path}.retry"))
    if delivery.backoff_policy not in (None, "linear", "exponential"):
        problems.append(FieldError(f'invalid value "{delivery.backoff_policy}"', f"{path}.backoffPolicy"))
    if delivery.format not in (None, "json", "binary"):
        problems.append(FieldError(f'invalid value "{delivery.format}"', f"{path}.format"))
    for name, text, least in (
        ("backoffDelay", delivery.backoff_delay, 0.0),
        ("retryAfterMax", delivery.retry_after_max, 0.0),
        ("timeout", delivery.timeout, 0.001),
    ):
        problems += _period_problems(text, least, f"{path}.{name}")
    return problems


def destination_problems(destination: Destination | None, path: str) -> list[FieldError]:
    if destination is None:
        return []
    ref, uri = destination.ref, destination.uri
    if ref is None and not uri:
        return [FieldError("expected at least one, got none", f"{path}.ref, {path}.uri")]
    problems = missing(ref, f"{path}.ref", ("kind", "name")) if ref is not None else []
    if ref is not None and not ref.api_version and not ref.group:
        problems.append(FieldError("missing field(s)", f"{path}.ref.apiVersion"))
    return problems + (_uri_problems(uri, has_ref=ref is not None, path=path) if uri else [])


def missing(reference: Reference, path: str, fields: tuple[str, ...]) -> list[FieldError]:
    absent = [name for name in fields if not getattr(reference, name)]
    return [FieldError("missing field(s)", f"{path}.{'apiVersion' if n == 'api_version' else n}") for n in absent]


def _uri_problems(uri: str, *, has_ref: bool, path: str) -> list[FieldError]:
    try:
        found = urlsplit(uri)
        _ = found.port
    except ValueError as error:
        return [FieldError(f'invalid value "{uri}": {error}', f"{path}.uri")]
    if has_ref and found.scheme:
        message = "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present"
        return [FieldError(message, f"{path}.ref, {path}.uri")]
    if not has_ref and not (found.scheme and found.hostname):
        message = 'invalid value "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent"'
        return [FieldError(message, f"{path}.uri")]
    if not has_ref and found.scheme not in ("http", "https"):
        return [FieldError(f'invalid value "{uri}": events are delivered over http or https', f"{path}.uri")]
    return []


def _period_problems(text: str | None, least: float, path: str) -> list[FieldError]:
    if text is None:
        return []
    try:
        return [] if period.parse(text) >= least else [FieldError(f'invalid value "{text}"', path)]
    except Invalid as error:
        return [FieldError(f'invalid value "{text}"', path, f"{error}. {error.hint}")]
