"""A function as its author describes it: the typed view of `func.yaml` (Knative's func spec 0.36.0) and its rules.

Law: pure. Intent (`image`, `registry`, `namespace`, `deployer`) and observed state (`deploy.image`,
`deploy.namespace`, `deploy.deployer`) are different fields. `{{ env:X }}` is read on the client when it deploys;
`{{ secret:… }}` and `{{ configMap:… }}` are read by the cluster. Fields that are not here are kept in the file. No IO.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from funcs.errors import FieldError

from .names import is_dns_1035, is_dns_label, is_dns_subdomain

SPEC_VERSION = "0.36.0"
LONGEST_NAME = 50  # so that the names made from it (`<name>-00001-deployment`) stay whole
BUILDERS = ("host", "pack", "kaniko", "s2i")
DEPLOYERS = ("knative", "raw", "keda")

_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*", re.ASCII)
_PLACEHOLDER = re.compile(r"\{\{\s*(env|secret|configMap):([-._a-zA-Z0-9]+)(?::([-._a-zA-Z0-9]+))?\s*\}\}", re.ASCII)
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII)
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9]*", re.ASCII)
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?", re.ASCII)


class _Part(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One mapping of func.yaml. None is the same as absent."""


class Pair(_Part, frozen=True, kw_only=True):
    """An environment variable or a label. Without a name: all keys of the secret or config map in `value`."""

    name: str | None = None
    key: str | None = None
    value: str | None = None


class Git(_Part, frozen=True, kw_only=True):
    url: str | None = None
    revision: str | None = None
    context_dir: str | None = None


class BuildVolume(_Part, frozen=True, kw_only=True):
    host_path: str
    path: str


class Build(_Part, frozen=True, kw_only=True):
    builder: str | None = None
    builder_images: dict[str, str] | None = None
    buildpacks: list[str] | None = None
    base_image: str | None = None
    build_envs: list[Pair] | None = None
    git: Git | None = None
    pvc_size: str | None = None
    remote_storage_class: str | None = None
    volumes: list[BuildVolume] | None = None


class Claim(_Part, frozen=True, kw_only=True):
    claim_name: str
    read_only: bool | None = None


class EmptyDir(_Part, frozen=True, kw_only=True):
    medium: str | None = None
    size_limit: str | None = None


class Volume(_Part, frozen=True, kw_only=True):
    """Exactly one of the four sources, and where it is mounted."""

    secret: str | None = None
    config_map: str | None = None
    persistent_volume_claim: Claim | None = None
    empty_dir: EmptyDir | None = None
    path: str | None = None


class Kafka(_Part, frozen=True, kw_only=True):
    brokers: list[str] | str | None = None
    topic: str | None = None
    consumer_group: str | None = None


class Run(_Part, frozen=True, kw_only=True):
    envs: list[Pair] | None = None
    volumes: list[Volume] | None = None
    start_timeout: str | int | None = None
    kafka: Kafka | None = None


class Scale(_Part, frozen=True, kw_only=True):
    min: int | None = None
    max: int | None = None
    metric: str | None = None
    target: float | None = None
    utilization: float | None = None


class Requests(_Part, frozen=True, kw_only=True):
    cpu: str | None = None
    memory: str | None = None


class Limits(_Part, frozen=True, kw_only=True):
    cpu: str | None = None
    memory: str | None = None
    concurrency: int | None = None


class Resources(_Part, frozen=True, kw_only=True):
    requests: Requests | None = None
    limits: Limits | None = None


class Options(_Part, frozen=True, kw_only=True):
    scale: Scale | None = None
    resources: Resources | None = None


class Health(_Part, frozen=True, kw_only=True):
    liveness: str | None = None
    readiness: str | None = None


class Subscription(_Part, frozen=True, kw_only=True):
    """Events of the Broker `source` whose attributes equal `filters` come to the function."""

    source: str
    filters: dict[str, str] | None = None


class Deploy(_Part, frozen=True, kw_only=True):
    namespace: str | None = None
    image: str | None = None
    deployer: str | None = None
    annotations: dict[str, str] | None = None
    labels: list[Pair] | None = None
    options: Options | None = None
    health_endpoints: Health | None = None
    service_account_name: str | None = None
    image_pull_secret: str | None = None
    management_disabled: bool | None = None
    subscriptions: list[Subscription] | None = None


class Function(_Part, frozen=True, kw_only=True):
    """The whole file."""

    name: str
    runtime: str
    spec_version: str = SPEC_VERSION
    created: str | None = None
    domain: str | None = None
    registry: str | None = None
    registry_insecure: bool | None = None
    image: str | None = None
    namespace: str | None = None
    deployer: str | None = None
    invoke: str | None = None
    build: Build = Build()
    run: Run = Run()
    deploy: Deploy = Deploy()

    @property
    def envs(self) -> list[Pair]:
        return self.run.envs or []

    @property
    def scale(self) -> Scale:
        return (self.deploy.options and self.deploy.options.scale) or Scale()

    @property
    def resources(self) -> Resources:
        return (self.deploy.options and self.deploy.options.resources) or Resources()

    @property
    def subscriptions(self) -> list[Subscription]:
        return self.deploy.subscriptions or []

    def image_name(self, registry: str = "") -> str:
        """The image to build: `image`, else `<registry>/<name>:latest`. "" if there is neither."""
        if self.image:
            return self.image
        place = (self.registry or registry).rstrip("/")
        if place and not any(sign in place for sign in "./:") and place != "localhost":
            place = f"docker.io/{place}"
        return f"{place}/{self.name}:latest" if place else ""


@dataclass(frozen=True, slots=True)
class Value:
    """What a `value` says: text, or where it comes from (`key` "" is every key)."""

    source: Literal["text", "env", "secret", "configMap"]
    name: str
    key: str = ""


def value_of(text: str) -> Value | None:
    """None if it begins with `{{` and is none of the forms. Other text stands for itself."""
    if not text.lstrip().startswith("{{"):
        return Value("text", text)
    found = _PLACEHOLDER.fullmatch(text.strip())
    if found is None or (found[1] == "env" and found[3]):
        return None
    source: Literal["env", "secret", "configMap"] = found[1]  # type: ignore[assignment]
    return Value(source, found[2], found[3] or "")


def validate(function: Function) -> list[FieldError]:
    """Everything that is wrong, each with its path in the file."""
    return [
        *_names(function),
        *_pairs(function.envs, "run.envs"),
        *_build_envs(function.build.build_envs or []),
        *_labels(function.deploy.labels or []),
        *_annotations(function.deploy.annotations or {}),
        *_subscriptions(function.subscriptions),
        *_volumes(function.run.volumes or []),
        *_scale(function.scale),
        *_resources(function.resources),
    ]


def name_problem(name: str) -> str:
    """Why this cannot be a function's name; "" if it can."""
    if not is_dns_1035(name):
        return "must be lower-case letters, digits and '-', begin with a letter and end with a letter or digit"
    if len(name) > LONGEST_NAME:
        return f"must have at most {LONGEST_NAME} characters, so that names made from it stay whole"
    return ""


def _names(function: Function) -> Iterator[FieldError]:
    if problem := name_problem(function.name):
        yield FieldError(f"{function.name!r} {problem}", "name")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", function.runtime):
        yield FieldError(f"{function.runtime!r} is not a language", "runtime")
    yield from _one_of(function.invoke, ("http", "cloudevent"), "invoke")
    yield from _one_of(function.deployer, DEPLOYERS, "deployer")
    yield from _one_of(function.build.builder, BUILDERS, "build.builder")
    for path, namespace in (("namespace", function.namespace), ("deploy.namespace", function.deploy.namespace)):
        if namespace and not is_dns_label(namespace):
            yield FieldError(f"{namespace!r} is not a namespace's name", path)


def _one_of(value: str | None, allowed: tuple[str, ...], path: str) -> Iterator[FieldError]:
    if value and value not in allowed:
        yield FieldError(f"{value!r} is none of {', '.join(allowed)}", path)


def _pairs(pairs: list[Pair], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for place, pair in ((f"{path}[{index}]", pair) for index, pair in enumerate(pairs)):
        value = value_of(pair.value or "")
        if value is None:
            yield FieldError(f"{pair.value!r} is none of {_FORMS}", f"{place}.value")
        elif pair.name is None and (value.source not in ("secret", "configMap") or value.key):
            yield FieldError("without a name the value is {{ secret:NAME }} or {{ configMap:NAME }}", place)
        elif pair.name is not None and value.source in ("secret", "configMap") and not value.key:
            yield FieldError(f"a key is missing: {{{{ {value.source}:{value.name}:KEY }}}}", f"{place}.value")
        if pair.name is not None:
            if not _ENV_NAME.fullmatch(pair.name):
                yield FieldError(f"{pair.name!r} is not an environment variable's name", f"{place}.name")
            if pair.name in seen:
                yield FieldError(f"{pair.name!r} is set twice", f"{place}.name")
            seen.add(pair.name)


_FORMS = "{{ env:NAME }}, {{ secret:NAME:KEY }}, {{ configMap:NAME:KEY }}"


def _build_envs(pairs: list[Pair]) -> Iterator[FieldError]:
    yield from _pairs(pairs, "build.buildEnvs")
    for index, pair in enumerate(pairs):
        value = value_of(pair.value or "")
        if value is not None and value.source in ("secret", "configMap"):
            yield FieldError("a build reads only {{ env:NAME }}", f"build.buildEnvs[{index}].value")


def _labels(labels: list[Pair]) -> Iterator[FieldError]:
    for index, label in enumerate(labels):
        value = value_of(label.value or "")
        if not label.key:
            yield FieldError("a label needs a key", f"deploy.labels[{index}].key")
        if value is None or value.source not in ("text", "env"):
            yield FieldError("a label's value is text or {{ env:NAME }}", f"deploy.labels[{index}].value")


def _annotations(annotations: dict[str, str]) -> Iterator[FieldError]:
    for name in annotations:
        prefix, _, last = name.rpartition("/")
        if not _QUALIFIED.fullmatch(last) or (prefix and not is_dns_subdomain(prefix)):
            yield FieldError(f"{name!r} is not an annotation's name", "deploy.annotations")


def _subscriptions(subscriptions: list[Subscription]) -> Iterator[FieldError]:
    for place, found in ((f"deploy.subscriptions[{index}]", one) for index, one in enumerate(subscriptions)):
        if not is_dns_subdomain(found.source):
            yield FieldError(f"{found.source!r} is not a Broker's name", f"{place}.source")
        for name in found.filters or {}:
            if not _ATTRIBUTE.fullmatch(name):
                problem = f"{name!r} is not an attribute: lower-case letters and digits only"
                yield FieldError(problem, f"{place}.filters")


def _volumes(volumes: list[Volume]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for place, volume in ((f"run.volumes[{index}]", volume) for index, volume in enumerate(volumes)):
        sources = (volume.secret, volume.config_map, volume.persistent_volume_claim, volume.empty_dir)
        if sum(source is not None for source in sources) != 1:
            yield FieldError("needs exactly one of secret, configMap, persistentVolumeClaim, emptyDir", place)
        path = posixpath.normpath(volume.path or "")
        if not posixpath.isabs(path):
            yield FieldError("needs an absolute path", f"{place}.path")
        if path in seen:
            yield FieldError(f"{path} is mounted twice", f"{place}.path")
        seen.add(path)


def _scale(scale: Scale) -> Iterator[FieldError]:
    path = "deploy.options.scale"
    for name, bound in (("min", scale.min), ("max", scale.max)):
        if bound is not None and bound < 0:
            yield FieldError(f"{bound} is below 0", f"{path}.{name}")
    if scale.max and (scale.min or 0) > scale.max:
        yield FieldError(f"{scale.max} is below min, {scale.min}", f"{path}.max")
    yield from _one_of(scale.metric, ("concurrency", "rps"), f"{path}.metric")
    if scale.target is not None and scale.target < 0.01:
        yield FieldError(f"{scale.target} is below 0.01", f"{path}.target")
    if scale.utilization is not None and not 1 <= scale.utilization <= 100:
        yield FieldError(f"{scale.utilization} is not a percentage from 1 to 100", f"{path}.utilization")


def _resources(resources: Resources) -> Iterator[FieldError]:
    limits = resources.limits or Limits()
    requests = resources.requests or Requests()
    quantities = {
        "requests.cpu": requests.cpu, "requests.memory": requests.memory,
        "limits.cpu": limits.cpu, "limits.memory": limits.memory,
    }  # fmt: skip
    for path, quantity in quantities.items():
        if quantity is not None and not _QUANTITY.fullmatch(quantity):
            yield FieldError(f"{quantity!r} is not a quantity", f"deploy.options.resources.{path}")
    if limits.concurrency is not None and limits.concurrency < 0:
        yield FieldError(f"{limits.concurrency} is below 0", "deploy.options.resources.limits.concurrency")
