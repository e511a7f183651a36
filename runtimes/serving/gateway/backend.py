"""One revision as the gateway sees it: its ready pods, the requests in them, and those that wait.

Law: a pod never has more than containerConcurrency requests; who waits longest goes first; the queue is bounded.
Waiters are called back (`admitted`), nobody polls. Bookkeeping only; no IO.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from funcs.api.meta import Key

from ..balancing import choose
from ..breaker import queue_depth
from .metrics import Figures

if TYPE_CHECKING:
    from .repeats import Answer
    from .upstream import Upstream

Address = tuple[str, int]


class Waiter(Protocol):
    """A request that waits for a pod."""

    def admitted(self, pod: Pod) -> None: ...


class Limits:
    """What a Revision's spec asks of the gateway; times in seconds, 0 for none."""

    __slots__ = ("concurrency", "idle", "protocol", "response_start", "timeout")

    def __init__(
        self,
        concurrency: int = 0,
        timeout: float = 300.0,
        response_start: float = 0.0,
        idle: float = 0.0,
        protocol: str = "http1",
    ) -> None:
        self.concurrency = concurrency
        self.timeout = timeout
        self.response_start = response_start
        self.idle = idle
        self.protocol = protocol


class Pod:
    """One ready address and its pooled connections. `gone` pods finish what they have and take nothing new.

    `last_head` and `known`: of its last answer, for `repeats`.
    """

    __slots__ = ("address", "failures", "gone", "idle", "in_flight", "known", "last_head")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.in_flight = 0
        self.idle: list[Upstream] = []
        self.gone = False
        self.failures = 0
        self.last_head = b""
        self.known: Answer | None = None


class Backend:
    """`poke` tells the autoscaler that somebody waits for a first pod; `random` gives 0 ≤ x < 1."""

    __slots__ = (
        "_broken", "_pods", "_turn", "area", "arrived", "figures", "in_flight", "key", "limits", "poke", "random",
        "since", "used", "waiting",
    )  # fmt: skip

    def __init__(
        self, key: Key, limits: Limits, poke: Callable[[Key], None], random: Callable[[], float], now: float
    ) -> None:
        self.key = key
        self.limits = limits
        self.poke = poke
        self.random = random
        self._pods: list[Pod] = []
        self._broken: list[Pod] = []
        self._turn = 0
        self.waiting: OrderedDict[Waiter, None] = OrderedDict()
        self.in_flight = 0
        self.arrived = 0
        self.area = 0.0
        self.since = self.used = now
        self.figures = Figures()

    @property
    def is_ready(self) -> bool:
        return bool(self._pods)

    @property
    def pods(self) -> tuple[Pod, ...]:
        return (*self._pods, *self._broken)

    def arrive(self, now: float) -> None:
        """A request has come; it counts until it `leave`s, waiting or not."""
        self.area += self.in_flight * (now - self.since)
        self.since = self.used = now
        self.in_flight += 1
        self.arrived += 1

    def leave(self, now: float) -> None:
        self.area += self.in_flight * (now - self.since)
        self.since = self.used = now
        self.in_flight -= 1

    def take(self) -> Pod | None:
        """A pod with room, unless others wait before."""
        if self.waiting:
            return None
        pods = self._pods
        if len(pods) == 1 and self.limits.concurrency == 0:
            pod: Pod | None = pods[0]
        else:
            self._turn += 1
            pod = choose(pods, self.limits.concurrency, self._turn, self.random)
        if pod is not None:
            pod.in_flight += 1
        return pod

    def wait(self, waiter: Waiter, *, first: bool = False) -> bool:
        """Queue up; False when the queue is full. `first`: it had a pod already, which turned out to be dead."""
        if not first and len(self.waiting) >= queue_depth(self.limits.concurrency, len(self._pods)):
            return False
        self.waiting[waiter] = None
        if first:
            self.waiting.move_to_end(waiter, last=False)
        if not self._pods:
            self.poke(self.key)
        return True

    def give_up(self, waiter: Waiter) -> None:
        self.waiting.pop(waiter, None)

    def release(self, pod: Pod) -> None:
        """A request has left its pod: the next one may enter."""
        pod.in_flight -= 1
        if self.waiting:
            self._admit()

    def broke(self, pod: Pod) -> None:
        """It refused a connection: not chosen again until `mended`."""
        if pod in self._pods:
            self._pods.remove(pod)
            self._broken.append(pod)

    def mended(self, pod: Pod) -> None:
        if pod in self._broken:
            self._broken.remove(pod)
            self._pods.append(pod)
            self._admit()

    def set_addresses(self, addresses: Iterable[Address]) -> list[Upstream]:
        """The ready addresses as they are now; returns connections to close. Pods that stay keep their requests."""
        present = {pod.address: pod for pod in self.pods}
        wanted = list(dict.fromkeys(addresses))
        closing: list[Upstream] = []
        for address, pod in present.items():
            if address not in wanted:
                pod.gone = True
                closing += pod.idle
                pod.idle = []
        self._pods = [present.get(address) or Pod(address) for address in wanted]
        self._broken = []
        self._admit()
        return closing

    def measure(self, now: float, began: float) -> tuple[float, int]:
        """(average concurrency, arrivals) since `began`, and start afresh."""
        area = self.area + self.in_flight * (now - self.since)
        arrived = self.arrived
        self.area, self.arrived, self.since = 0.0, 0, now
        return area / max(now - began, 1e-3), arrived

    def _admit(self) -> None:
        while self.waiting:
            self._turn += 1
            pod = choose(self._pods, self.limits.concurrency, self._turn, self.random)
            if pod is None:
                return
            pod.in_flight += 1
            waiter, _ = self.waiting.popitem(last=False)
            waiter.admitted(pod)
