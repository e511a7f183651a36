"""What happens after a push: the hook tells us on a unix socket, and hears what the push leads to.

Law: a push is known by a word that only its own git process was given. What a push leads to goes on whether or not the
pusher stays to listen. Text for the pusher's terminal holds no control characters. IO: the socket, short git commands.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from funcs.api.meta import Key
from funcs.errors import FuncsError

from .push import FORMAT, Commit, Push, Update, commit_from, is_skipped, why_not
from .repositories import Repositories

log = logging.getLogger(__name__)

Announce = Callable[[Push], AsyncIterator[str]]
"""Tell of a push; what comes of it, line by line. Raises FuncsError when nothing good does."""

_WAITING = 1024  # lines that a slow terminal may leave unread
_LONGEST_TOLD = 1024 * 1024
_OBJECT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Pushing:
    """A push under way: whose, to where."""

    repository: Key
    path: Path
    pusher: str


class _Told(msgspec.Struct, frozen=True):
    push: str
    updates: list[tuple[str, str, str]]
    options: list[str]


class Arrivals:
    """`async with arrivals.listening():` serves the hooks. `clone_url` says where a repository is read from."""

    def __init__(
        self, socket: Path, repositories: Repositories, announce: Announce, clone_url: Callable[[Key], str]
    ) -> None:
        self.socket = socket
        self._repositories = repositories
        self._announce = announce
        self._clone_url = clone_url
        self._pushes: dict[str, Pushing] = {}
        self._announcing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        self.socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._hear, self.socket, limit=_LONGEST_TOLD)
        self.socket.chmod(0o600)
        try:
            yield
        finally:
            server.close()
            for task in self._announcing:
                task.cancel()
            await asyncio.gather(*self._announcing, return_exceptions=True)
            self.socket.unlink(missing_ok=True)

    def expect(self, pushing: Pushing) -> str:
        """A word by which the hook of this push is known, until `forget`."""
        word = secrets.token_urlsafe(24)
        self._pushes[word] = pushing
        return word

    def forget(self, word: str) -> None:
        self._pushes.pop(word, None)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One hook. What its push leads to goes on in a task of ours, even if the hook goes away."""
        lines: asyncio.Queue[str | None] = asyncio.Queue(_WAITING)
        try:
            async with asyncio.timeout(10):
                told = msgspec.json.decode(await reader.readline(), type=_Told)
            pushing = self._pushes[told.push]
        except (TimeoutError, ValueError, KeyError, OSError) as error:
            log.warning("a hook was not understood: %s", error)
            writer.close()
            return
        task = asyncio.create_task(self._all(pushing, told, lines), name=f"push to {pushing.repository}")
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)
        await _pass_on(lines, writer)

    async def _all(self, pushing: Pushing, told: _Told, lines: asyncio.Queue[str | None]) -> None:
        try:
            for before, after, ref in told.updates:
                await self._one(pushing, Update(before, after, ref), tuple(told.options), lines)
        except Exception:
            log.exception("announcing a push to %s failed", pushing.repository)
            await lines.put("the push is stored; announcing it failed, see the log of the control process")
        finally:
            while lines.full():
                lines.get_nowait()
            lines.put_nowait(None)

    async def _one(
        self, pushing: Pushing, update: Update, options: tuple[str, ...], lines: asyncio.Queue[str | None]
    ) -> None:
        reason = why_not(update, options)
        if not reason:
            commit = await self._commit(pushing.path, update.after)
            reason = "skipped, as the commit's message asks" if is_skipped(commit) else ""
        if reason:
            await lines.put(reason)
            return
        url = self._clone_url(pushing.repository)
        push = Push(pushing.repository, update, commit, pushing.pusher, url, options)
        try:
            async for line in self._announce(push):
                await lines.put(_CONTROL.sub(" ", line))
        except FuncsError as error:
            for line in (error.message, error.hint or ""):
                if line:
                    await lines.put(_CONTROL.sub(" ", line))

    async def _commit(self, path: Path, id: str) -> Commit:
        """Raises Unavailable."""
        if not _OBJECT.fullmatch(id):
            raise ValueError(f"{id!r} is not an object's name")
        command = ["git", "log", "-1", "--no-show-signature", f"--format={FORMAT}", id, "--"]
        return commit_from((await self._repositories.output(command, path)).decode(errors="replace"))


async def _pass_on(lines: asyncio.Queue[str | None], writer: asyncio.StreamWriter) -> None:
    """To the hook while it listens, to nobody after that."""
    listens = True
    while (line := await lines.get()) is not None:
        if listens:
            try:
                writer.write(line.encode() + b"\n")
                await writer.drain()
            except OSError:
                listens = False
    writer.close()
