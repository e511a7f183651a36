"""A push told as GitHub tells it: a signed webhook to an EventListener, and then what it led to.

Law: the pusher waits for a pipeline to start no longer than `start` seconds, and is told in words when none does. The
signature is over the bytes that are sent. IO: through `post` and `follow`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import msgspec

from funcs.api.meta import Key
from funcs.errors import Timeout, Unavailable

from .push import Push, payload


class Post(Protocol):
    """POST bytes, and give status and body. Raises Unavailable."""

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]: ...


class Follow(Protocol):
    """What an event led to, line by line, in a namespace. Raises FuncsError when it led to nothing or ended badly."""

    def __call__(self, event_id: str, namespace: str) -> AsyncIterator[str]: ...


class _Accepted(msgspec.Struct, frozen=True):
    event_id: str = msgspec.field(name="eventID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """`runtimes.cluster.git.arrivals.Announce`. `url` is a repository's EventListener, None if it has none."""

    url: Callable[[Key], str | None]
    secret: bytes
    post: Post
    follow: Follow
    ids: Callable[[], str]
    start: float = 60.0
    whole: float = 3600.0

    async def __call__(self, push: Push) -> AsyncIterator[str]:
        url = self.url(push.repository)
        if url is None:
            yield f"{push.repository}: no EventListener: the push is stored, nothing is built"
            return
        event_id = await self._tell(url, push)
        yield f"{push.branch} is at {push.update.after[:12]}; event {event_id}"
        lines = self.follow(event_id, push.repository.namespace)
        async with aclosing(_within(lines, self.start, self.whole)) as followed:
            async for line in followed:
                yield line

    async def _tell(self, url: str, push: Push) -> str:
        """The id of the event. Raises Unavailable."""
        body = msgspec.json.encode(payload(push))
        headers = {
            "content-type": "application/json",
            "user-agent": "funcs-git",
            "x-github-event": "push",
            "x-github-delivery": self.ids(),
            "x-hub-signature-256": "sha256=" + hmac.new(self.secret, body, hashlib.sha256).hexdigest(),
        }
        status, answer = await self.post(url, body, headers)
        if status != 202:
            said = answer.decode(errors="replace").strip()[:200]
            raise Unavailable(f"the push is stored, but the EventListener at {url} answered {status}: {said}")
        try:
            return msgspec.json.decode(answer, type=_Accepted).event_id
        except msgspec.MsgspecError as error:
            raise Unavailable(f"the EventListener at {url} did not name the event: {error}") from error


async def _within(lines: AsyncIterator[str], start: float, whole: float) -> AsyncGenerator[str, None]:
    """The lines, the first of them within `start` seconds, all within `whole`. Raises Timeout."""
    loop = asyncio.get_running_loop()
    end = loop.time() + whole
    deadline = loop.time() + start
    while True:
        try:
            async with asyncio.timeout_at(min(deadline, end)):
                line = await anext(lines)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if deadline < end:
                raise Timeout(
                    f"the push is stored, but no pipeline started within {start:g} s",
                    hint="See `kubectl get eventlisteners,pipelineruns` for what became of it.",
                ) from error
            raise Timeout(
                f"the pipeline is not done after {whole:g} s; it goes on, this push no longer follows it"
            ) from error
        deadline = end
        yield line
