"""One git process behind one request: the request's body to its stdin, its stdout as the answer.

Law: bytes pass in pieces and are never gathered. A reader that goes away ends the process, but not after git has the
whole request: then refs may be moving, and it is left to finish. IO: the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

from funcs.errors import BadRequest, FuncsError

log = logging.getLogger(__name__)

_PIECE = 64 * 1024


class Services:
    """Starts git processes, and sees each of them to its end. `close` ends those that are left."""

    def __init__(self) -> None:
        self._ending: set[asyncio.Task[None]] = set()

    async def start(
        self,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        ended: Callable[[], None] = lambda: None,
    ) -> Service:
        """`ended` is called when the process is gone."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_PIECE,
        )
        return Service(process, self, ended)

    def see_to_its_end(self, service: Service) -> asyncio.Task[None]:
        """In a task of ours, since the one that answers may be cancelled."""
        task = asyncio.create_task(service.end(), name="end of a git process")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def close(self) -> None:
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)


class Service:
    """A running `git upload-pack` or `receive-pack`."""

    def __init__(self, process: asyncio.subprocess.Process, services: Services, ended: Callable[[], None]) -> None:
        self._process = process
        self._services = services
        self._ended = ended
        self._fed = False

    async def exchange(self, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Feed `body` and give what git answers, at once, to the end of both."""
        feeding = asyncio.create_task(self._feed(body), name="git request")
        try:
            async for piece in self._answer():
                yield piece
            await feeding
        finally:
            feeding.cancel()
            await asyncio.shield(self._services.see_to_its_end(self))

    async def _feed(self, body: AsyncIterator[bytes]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async for piece in body:
                if stdin.is_closing():  # git has heard enough: uvloop refuses to write where asyncio would be silent
                    break
                stdin.write(piece)
                await stdin.drain()
            self._fed = True
        except (BrokenPipeError, ConnectionResetError):
            self._fed = True  # git has heard enough; its answer says why
        except FuncsError as error:
            log.info("a git request ended early: %s", error)
            self._kill()
        finally:
            stdin.close()

    async def _answer(self) -> AsyncIterator[bytes]:
        stdout = self._process.stdout
        assert stdout is not None
        while piece := await stdout.read(_PIECE):
            yield piece

    async def end(self) -> None:
        """Kill it, unless it has its whole request; read what is left; wait."""
        if not self._fed:
            self._kill()
        try:
            async for _ in self._answer():
                pass
            await self._process.wait()
        except asyncio.CancelledError:
            self._kill()
            raise
        finally:
            self._ended()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


async def decoded(body: AsyncIterator[bytes], encoding: str, most: int) -> AsyncIterator[bytes]:
    """The body without its content-encoding, in pieces. Raises BadRequest for what is not gzip, or beyond `most`."""
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise BadRequest(f"content-encoding {encoding[:32]} is not supported")
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    size = 0
    async for piece in body:
        for part in _inflated(inflate, piece) if inflate is not None else (piece,):
            size += len(part)
            if size > most:
                raise BadRequest(f"the request is larger than {most} bytes")
            yield part
    if inflate is not None and not inflate.eof:
        raise BadRequest("the gzip body ends early")


def _inflated(inflate: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """In bounded pieces, however much a few bytes inflate to."""
    try:
        while piece:
            yield inflate.decompress(piece, _PIECE)
            piece = inflate.unconsumed_tail
    except zlib.error as error:
        raise BadRequest(f"the body is not gzip: {error}") from error
