"""The hub: what the control part serves over plain HTTP on loopback: registry, git, listeners; and the tools image.

Law: writes need a token; nothing here decides about resources. IO: its socket, the image layout, one child process
that makes the tools image.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute

from funcs.api import core
from funcs.api.catalog import KINDS
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller
from funcs.errors import FuncsError, NotFound
from funcs.oci import reference
from funcs.oci.credentials import Credentials as RegistryCredentials
from funcs.oci.layout import Layout
from funcs.oci.registry import Delays, connect
from pipelines.builders.host.tools import TAG, TOOLS_REPOSITORY
from pipelines.builders.push import TOKEN_VARIABLE
from runtimes.cluster.api.server import serve
from runtimes.cluster.collection import KEPT, collect
from runtimes.cluster.registry.access import by_token
from runtimes.cluster.registry.server import RegistryServer
from runtimes.cluster.registry.uploads import Uploads, UploadSettings

from .builtins import BuildSecrets, Builtins, tools_config
from .credentials import Credentials
from .duty import Duty
from .first import OPTIONS
from .pushes import Pushes

log = logging.getLogger(__name__)
_FIRST_COLLECTION = 60.0


class Hub:
    """`serving()` serves until its block is left."""

    def __init__(self, duty: Duty, tokens: Credentials, client: Client, clock: Clock, cache: Path) -> None:
        self._duty, self._tokens, self._client, self._clock, self._cache = duty, tokens, client, clock, cache
        self._layout = Layout(duty.places.images)
        uploads = Uploads(self._layout, UploadSettings(), clock.monotonic, lambda: secrets.token_urlsafe(24))
        self._registry = RegistryServer(self._layout, by_token(tokens.hub_user), uploads)
        self._pushes = Pushes(duty, tokens, client, clock)

    async def resolve_digest(self, image: str) -> str:
        """The image's name by digest. Raises NotFound, Unavailable, Invalid."""
        wanted = reference.parse(image)
        if wanted.digest:
            return image
        if wanted.registry == self._duty.record.registry:
            found = await asyncio.to_thread(self._layout.resolve, wanted.repository, wanted.locator)
            if found is None or not await asyncio.to_thread(self._layout.renew, found.digest):
                raise NotFound(f"{image} is not in the registry", reason="ManifestUnknown")
            return f"{wanted.name}@{found.digest}"
        delays = Delays(self._clock.sleep, secrets.SystemRandom().random)
        async with connect(RegistryCredentials([]), delays) as registry:
            return f"{wanted.name}@{(await registry.resolve(wanted)).digest}"

    @property
    def tools_image(self) -> str:
        """By tag: what pods name that only need the tools to exist."""
        return f"{self._duty.record.registry}/{TOOLS_REPOSITORY}:{TAG}"

    def controllers(self, cache: Cache) -> list[Controller]:
        secrets = BuildSecrets(token=self._tokens.builder, webhook=self._tokens.webhook)
        builtins = Builtins(self._client, cache, self._duty.record, secrets)
        return [builtins.controller(), *self._pushes.controllers(cache)]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        # A page of another site that made its name resolve to this machine still sends that name.
        ours = Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1"], www_redirect=False)
        app = Starlette(routes=self._routes(), middleware=[ours])
        tasks = (
            asyncio.create_task(serve(app, self._duty.sockets["hub"]), name="hub"),
            asyncio.create_task(self._make_tools(), name="tools image"),
            asyncio.create_task(self._collect_images(), name="image collection"),
        )
        try:
            async with self._pushes.serving():
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._registry.close()

    def _routes(self) -> Sequence[BaseRoute]:
        return [*self._registry.routes(), *self._pushes.routes()]

    async def _collect_images(self) -> None:
        """Soon after the start, for clusters that are never up for long, and then every hour."""
        wait = _FIRST_COLLECTION
        while True:
            await self._clock.sleep(wait)
            wait = KEPT
            try:
                removed = await collect(self._client, KINDS, self._layout, self._clock.now())
            except (FuncsError, OSError) as error:
                log.warning("image collection: %s", error)
            else:
                log.info("image collection: %d blobs removed", len(removed))

    async def _make_tools(self) -> None:
        """Make the tools image, or find that it is made; then say so. A failure is logged and ends builds, no more."""
        record = self._duty.record
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "funcs.platform.tools", f"--registry={record.registry}", f"--cache={self._cache}",
            stdin=asyncio.subprocess.PIPE,  # its end tells the child that we are gone
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {TOKEN_VARIABLE: self._tokens.builder},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            printed = await process.stdout.read()
            await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if process.returncode:
            log.error("the tools image was not made (code %s): builds by git push will not run", process.returncode)
            return
        image = f"{record.registry}/{TOOLS_REPOSITORY}@{printed.decode().strip()}"
        await self._client.apply(core.CONFIG_MAP, tools_config(image), OPTIONS)
