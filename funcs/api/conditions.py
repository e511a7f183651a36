"""Condition sets: one happy condition computed from its dependents, never set by hand.

Law: any dependent False makes the happy one False (copying its reason and message), else any Unknown makes it Unknown,
else it is True; conditions of severity Info take no part. `lastTransitionTime` moves only when content changes.
Source: knative.dev/pkg/apis/condition_set.go. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .meta import Object, generation, status, timestamp

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """`severity` "" takes part in the happy condition; "Info" does not."""

    type: str
    status: Status = "Unknown"
    reason: str = ""
    message: str = ""
    severity: str = ""
    transition: str = ""

    def same_as(self, other: Condition) -> bool:
        return (self.status, self.reason, self.message, self.severity) == (
            other.status,
            other.reason,
            other.message,
            other.severity,
        )


def read(obj: Object) -> list[Condition]:
    return [
        Condition(
            type=found.get("type", ""),
            status=found.get("status", "Unknown"),
            reason=found.get("reason", ""),
            message=found.get("message", ""),
            severity=found.get("severity", ""),
            transition=found.get("lastTransitionTime", ""),
        )
        for found in status(obj).get("conditions") or []
    ]


def find(obj: Object, type: str) -> Condition | None:
    return next((condition for condition in read(obj) if condition.type == type), None)


def is_true(obj: Object, type: str = "Ready") -> bool:
    found = find(obj, type)
    return found is not None and found.status == "True"


def is_ready(obj: Object, type: str = "Ready") -> bool:
    """Ready now, for the present generation."""
    return is_true(obj, type) and status(obj).get("observedGeneration", 0) == generation(obj)


@dataclass(frozen=True, slots=True)
class ConditionSet:
    """`happy` is "Ready" for things that live and "Succeeded" for things that end."""

    dependents: tuple[str, ...]
    happy: str = "Ready"

    def compute(self, marks: Iterable[Condition], previous: Object, now: float) -> list[Object]:
        """The `status.conditions` list: `marks` for this pass, unmarked dependents Unknown, the happy one computed.

        A set without dependents takes the happy condition as it is marked.
        """
        old = {condition.type: condition for condition in read(previous)}
        marked = {condition.type: condition for condition in marks}
        for dependent in self.dependents:
            marked.setdefault(dependent, Condition(dependent))
        if self.dependents or self.happy not in marked:
            marked[self.happy] = self._happy([marked[dependent] for dependent in self.dependents])
        return [_render(marked[name], old.get(name), now) for name in sorted(marked)]

    def _happy(self, dependents: list[Condition]) -> Condition:
        for wanted in ("False", "Unknown"):
            for found in dependents:
                if found.status == wanted and found.severity == "":
                    return Condition(self.happy, found.status, found.reason, found.message)
        return Condition(self.happy, "True")


def _render(condition: Condition, old: Condition | None, now: float) -> Object:
    kept = old is not None and old.transition and condition.same_as(old)
    rendered: Object = {
        "type": condition.type,
        "status": condition.status,
        "lastTransitionTime": old.transition if kept and old else timestamp(now),
    }
    for field in ("reason", "message", "severity"):
        value = getattr(condition, field)
        if value:
            rendered[field] = value
    return rendered
