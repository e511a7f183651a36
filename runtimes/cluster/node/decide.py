"""What a pod needs next, from what was asked and what is seen.

Law: pure, and idempotent: the same pod, the same observation and the same time give the same plan; an action whose
effect is under way (starting, stopping) is not planned twice. Restarts back off as the kubelet's do: 10 s doubling to
5 min, forgotten after ten minutes of running.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from funcs.api import meta
from funcs.api.meta import Object
from pipelines.steps.entrypoint import ORDERED_STEPS

Phase = Literal["waiting", "starting", "running", "exited"]

FIRST_DELAY = 10.0
LONGEST_DELAY = 300.0
FORGIVEN_AFTER = 600.0
DEFAULT_GRACE = 30
_NATIVE_INIT = frozenset({"prepare", "place-scripts", "working-dir-initializer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How one attempt ended."""

    exit_code: int
    reason: str
    started_at: float
    finished_at: float
    signal: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a container could not be created, how often in a row, and when it was last tried."""

    reason: str
    message: str
    times: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One container as it is observed. `attempt` counts starts from 0; -1: never started."""

    phase: Phase = "waiting"
    attempt: int = -1
    started_at: float = 0.0
    ended: Termination | None = None
    last: Termination | None = None
    image_id: str = ""
    started: bool = False
    ready: bool = False
    sick: str = ""
    stopping: bool = False
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A pod as it is observed. `prepared`: volumes, ports and shim are in place; `lost`: its shim was killed."""

    containers: Mapping[str, Seen] = field(default_factory=dict)
    prepared: bool = False
    preparing: bool = False
    problem: Problem | None = None
    began: float = 0.0
    lost: bool = False

    def of(self, name: str) -> Seen:
        return self.containers.get(name) or Seen()


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the pod's directory, volumes, ports and shim."""


@dataclass(frozen=True, slots=True)
class Start:
    name: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A step that an earlier step's failure keeps from running."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    name: str
    grace: float
    why: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Nothing runs any more and the pod is to go: clean up and delete it."""


Action = Prepare | Start | Skip | Stop | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """`look_again` is the Unix time at which deciding again may give something new."""

    actions: tuple[Action, ...] = ()
    look_again: float | None = None


def is_ordered(pod: Object) -> bool:
    return meta.annotations(pod).get(ORDERED_STEPS) == "true"


def is_step(pod: Object, name: str) -> bool:
    return is_ordered(pod) and name.startswith("step-")


def init_containers(pod: Object) -> list[Object]:
    """Those that run: what Tekton's own init containers do, the node does itself."""
    found: list[Object] = meta.spec(pod).get("initContainers") or []
    return [each for each in found if not (is_ordered(pod) and each["name"] in _NATIVE_INIT)]


def containers(pod: Object) -> list[Object]:
    found: list[Object] = meta.spec(pod).get("containers") or []
    return found


def is_sidecar(container: Object) -> bool:
    """A restartable init container."""
    return container.get("restartPolicy") == "Always"


def is_over(pod: Object, seen: Observed) -> bool:
    """Whether every container has ended for good: the pod has succeeded or failed."""
    if seen.lost or _init_failed(pod, seen) or deadline_passed(pod, seen, float("inf"), only_marked=True):
        return not _alive(seen)
    if not containers(pod):
        return False
    return all(_ended_for_good(pod, each["name"], seen) for each in containers(pod)) and not _alive(seen)


def decide(pod: Object, seen: Observed, now: float) -> Plan:
    """The next actions, in order."""
    if meta.is_deleting(pod) or seen.lost or deadline_passed(pod, seen, now) or _init_failed(pod, seen):
        return _wind_down(pod, seen)
    if not seen.prepared:
        if seen.preparing:
            return Plan()
        due = retry_at(seen.problem)
        return Plan((Prepare(),)) if due <= now else Plan(look_again=due)
    plan = _Planner(pod, seen, now)
    if plan.init():
        plan.mains()
    return Plan(tuple(plan.actions), plan.look_again)


def retry_at(problem: Problem | None) -> float:
    return problem.at + _delay(problem.times) if problem else 0.0


def backoff_until(seen: Seen) -> float:
    """When an ended container may start again. The first restart is immediate."""
    ended = seen.ended
    if ended is None or seen.attempt <= 0 or ended.finished_at - ended.started_at > FORGIVEN_AFTER:
        return 0.0
    return ended.finished_at + _delay(seen.attempt)


def restarts(pod: Object, name: str, seen: Seen) -> bool:
    """Whether the restart policy starts this ended container again."""
    if is_step(pod, name) or seen.ended is None:
        return False
    if any(each["name"] == name and is_sidecar(each) for each in init_containers(pod)):
        return True
    policy = meta.spec(pod).get("restartPolicy") or "Always"
    if any(each["name"] == name for each in init_containers(pod)):
        return policy != "Never" and seen.ended.exit_code != 0
    return policy == "Always" or (policy == "OnFailure" and seen.ended.exit_code != 0)


def deadline_passed(pod: Object, seen: Observed, now: float, *, only_marked: bool = False) -> bool:
    if only_marked:
        return bool(meta.status(pod).get("reason") == "DeadlineExceeded")
    limit = meta.spec(pod).get("activeDeadlineSeconds")
    return limit is not None and seen.began > 0 and now >= seen.began + float(limit)


def grace(pod: Object) -> float:
    found = meta.metadata(pod).get("deletionGracePeriodSeconds")
    if found is None:
        found = meta.spec(pod).get("terminationGracePeriodSeconds")
    return float(DEFAULT_GRACE if found is None else found)


class _Planner:
    def __init__(self, pod: Object, seen: Observed, now: float) -> None:
        self._pod, self._seen, self._now = pod, seen, now
        self.actions: list[Action] = []
        self.look_again: float | None = None
        limit = meta.spec(pod).get("activeDeadlineSeconds")
        if limit is not None and seen.began:
            self._again(seen.began + float(limit))

    def init(self) -> bool:
        """One after the other; True when all have succeeded (or, for sidecars, started)."""
        for container in init_containers(self._pod):
            seen = self._seen.of(container["name"])
            if is_sidecar(container):
                self._keep(container)
                if not (seen.phase == "running" and seen.started):
                    return False
            elif seen.phase != "exited" or seen.ended is None or seen.ended.exit_code != 0:
                self._keep(container)
                return False
        return True

    def mains(self) -> None:
        ordered = [each for each in containers(self._pod) if is_step(self._pod, each["name"])]
        for container in containers(self._pod):
            if container not in ordered:
                self._keep(container) if not self._steps_over(ordered) else self._stop(container["name"], "Completed")
        if ordered and self._sidecars_up(ordered):
            self._steps(ordered)
        if self._finished():
            for container in init_containers(self._pod):
                self._stop(container["name"], "Completed")

    def _steps(self, ordered: list[Object]) -> None:
        for container in ordered:
            seen = self._seen.of(container["name"])
            if seen.phase == "exited" and seen.ended is not None and seen.ended.exit_code == 0:
                continue
            if seen.phase != "exited":
                self._keep(container)
                return
            failed = ordered.index(container)
            self.actions += [
                Skip(each["name"]) for each in ordered[failed + 1 :] if self._seen.of(each["name"]).phase != "exited"
            ]
            return

    def _sidecars_up(self, ordered: list[Object]) -> bool:
        others = [each for each in containers(self._pod) if each not in ordered]
        begun = any(self._seen.of(each["name"]).attempt >= 0 for each in ordered)
        return begun or all(
            self._seen.of(each["name"]).phase == "exited" or self._seen.of(each["name"]).ready for each in others
        )

    def _steps_over(self, ordered: list[Object]) -> bool:
        return bool(ordered) and all(self._seen.of(each["name"]).phase == "exited" for each in ordered)

    def _finished(self) -> bool:
        return bool(containers(self._pod)) and all(
            _ended_for_good(self._pod, each["name"], self._seen) for each in containers(self._pod)
        )

    def _keep(self, container: Object) -> None:
        name = container["name"]
        seen = self._seen.of(name)
        if seen.phase == "running" and seen.sick and not seen.stopping:
            self.actions.append(Stop(name, grace(self._pod), seen.sick))
        elif seen.phase == "waiting" or (seen.phase == "exited" and restarts(self._pod, name, seen)):
            due = max(retry_at(seen.problem), backoff_until(seen))
            if due <= self._now:
                self.actions.append(Start(name))
            else:
                self._again(due)

    def _stop(self, name: str, why: str) -> None:
        seen = self._seen.of(name)
        if seen.phase in ("starting", "running") and not seen.stopping:
            self.actions.append(Stop(name, grace(self._pod), why))

    def _again(self, at: float) -> None:
        if at > self._now:
            self.look_again = at if self.look_again is None else min(self.look_again, at)


def _wind_down(pod: Object, seen: Observed) -> Plan:
    if _alive(seen):
        ending = [name for name, each in seen.containers.items() if each.phase == "running" and not each.stopping]
        return Plan(tuple(Stop(name, grace(pod), "Killing") for name in ending))
    if meta.is_deleting(pod) and not seen.preparing:
        return Plan((Remove(),))
    return Plan()


def _alive(seen: Observed) -> bool:
    return any(each.phase in ("starting", "running") for each in seen.containers.values())


def _init_failed(pod: Object, seen: Observed) -> bool:
    for container in init_containers(pod):
        found = seen.of(container["name"])
        if found.phase == "exited" and found.ended is not None and found.ended.exit_code != 0:
            return not restarts(pod, container["name"], found)
    return False


def _ended_for_good(pod: Object, name: str, seen: Observed) -> bool:
    found = seen.of(name)
    if is_ordered(pod) and not is_step(pod, name):
        return found.phase in ("exited", "waiting")  # a sidecar's end never decides; it is not started again at the end
    return found.phase == "exited" and not restarts(pod, name, found)


def _delay(times: int) -> float:
    return float(min(FIRST_DELAY * 2.0 ** min(max(times - 1, 0), 10), LONGEST_DELAY))
