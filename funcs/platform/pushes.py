"""What a git push sets going: a signed webhook, an EventListener, a PipelineRun whose log goes back over the push.

Law: composition only; a push to a namespace that builds waits until the namespace has its listener, and says so. IO:
through the parts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import httpx
from starlette.routing import BaseRoute

from funcs.api import core, meta, triggers
from funcs.api.meta import Key
from funcs.control.client import Client, Selection
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller
from funcs.control.ids import RandomIds
from funcs.errors import Terminal, Timeout, Unauthorized, Unavailable
from pipelines.engine.follow import RunFailed, follow
from pipelines.tasks.catalog import LISTENER
from pipelines.triggers.listener import Listener
from pipelines.triggers.reconciler import controllers as listener_controllers
from runtimes.cluster.git.arrivals import Arrivals
from runtimes.cluster.git.push import Push
from runtimes.cluster.git.repositories import Repositories
from runtimes.cluster.git.server import Action, GitServer
from runtimes.cluster.git.webhook import Webhook
from runtimes.cluster.registry.access import token_of

from . import builtins
from .credentials import Credentials
from .duty import Duty

_TOOLS_DEADLINE = 120.0
_FIRE_DEADLINE = 30.0


class Pushes:
    """Git server, webhook and listener in one: `routes()` go into the hub, `serving()` runs the rest."""

    def __init__(self, duty: Duty, tokens: Credentials, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._base = f"http://127.0.0.1:{duty.record.ports.hub}"
        self._listener = Listener(client, RandomIds().uid)
        self._webhook = Webhook(
            url=lambda repository: self._door(Key(repository.namespace, LISTENER)),
            secret=tokens.webhook.encode(),
            post=_post,
            follow=self._follow,
            ids=RandomIds().uid,
        )
        repositories = Repositories(duty.places.git, duty.search_path)
        arrivals = Arrivals(duty.places.run / "git.sock", repositories, self._announce, self._clone_url)
        self._git = GitServer(repositories, _Access(tokens), arrivals)

    def routes(self) -> list[BaseRoute]:
        return [*self._git.routes(), *self._listener.routes()]

    def controllers(self, cache: Cache) -> list[Controller]:
        return listener_controllers(self._client, cache, self._clock, self._door)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with self._listener, self._git.serving():
            yield

    def _door(self, listener: Key) -> str:
        return f"{self._base}/listeners/{listener.namespace}/{listener.name}"

    def _clone_url(self, repository: Key) -> str:
        return f"{self._base}/git/{repository.namespace}/{repository.name}.git"

    async def _announce(self, push: Push) -> AsyncIterator[str]:
        namespace = await self._client.get(core.NAMESPACE, push.repository.namespace)
        if meta.labels(namespace).get(builtins.LABEL) != "enabled":
            yield f"namespace {push.repository.namespace} does not build (label {builtins.LABEL}): the push is stored"
            return
        if not await self._listens(push.repository.namespace, 0.1):
            yield "waiting for the tools image, which is made once after the first start"
            if not await self._listens(push.repository.namespace, _TOOLS_DEADLINE):
                raise Timeout("the tools image is not there; the push is stored", hint="See the log of control.")
        async for line in self._webhook(push):
            yield line

    async def _listens(self, namespace: str, seconds: float) -> bool:
        """Whether the namespace has its listener, within so many seconds."""
        selection = Selection(namespace=namespace, fields=f"metadata.name={LISTENER}")
        async with aclosing(self._client.watch(triggers.EVENT_LISTENER, selection, timeout=seconds)) as events:  # type: ignore[type-var]
            async for _ in events:
                return True
        return False

    async def _follow(self, event_id: str, namespace: str) -> AsyncIterator[str]:
        outcome = await self._listener.outcome(event_id, _FIRE_DEADLINE)
        if not outcome.created:
            why = "; ".join(f"{trigger}: {reason}" for trigger, reason in outcome.refused.items())
            raise Terminal(f"the push started nothing: {why or 'no trigger matches it'}", reason="NothingStarted")
        for created in outcome.created:
            yield f"{created['kind']} {meta.name(created)} started"
            if created["kind"] == "PipelineRun":
                with suppress(RunFailed):  # its last line has said so
                    async for line in follow(self._client, namespace, meta.name(created), self._clock):
                        yield line


@dataclass(frozen=True, slots=True)
class _Access:
    """Who may read and write repositories: whoever holds the person's or the builds' token."""

    tokens: Credentials

    def __call__(self, headers: Mapping[str, str], repository: Key, action: Action) -> str:
        user = self.tokens.hub_user(token_of(headers))
        if user is None:
            raise Unauthorized(
                f"{action} of {repository} needs a token", hint="`funcs deploy` sets up git's credential helper."
            )
        return user


async def _post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
            answer = await client.post(url, content=body, headers=dict(headers))
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} cannot be reached: {error}") from error
    return answer.status_code, answer.content
