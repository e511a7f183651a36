"""Where repositories lie, what they may be called, and the surroundings git runs in.

Law: a path is made only of names that were checked; git never reads the configuration of the machine or the user. IO:
directories, and the one git process that makes a repository.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from funcs.api import names
from funcs.api.meta import Key
from funcs.errors import Invalid, NotFound, Unavailable

from . import hook

BRANCH = "main"
_SETTINGS = (
    "receive.fsckObjects=true",
    "receive.advertisePushOptions=true",
    "receive.denyNonFastForwards=false",
    "uploadpack.allowReachableSHA1InWant=true",
    "uploadpack.allowFilter=true",
    "gc.auto=0",
    "receive.autogc=false",
)


class Repositories:
    """Bare repositories under `root/<namespace>/<name>.git`. `search_path` is the PATH that git is found on."""

    def __init__(self, root: Path, search_path: str = os.defpath, *, largest_push: int = 1024 * 1024 * 1024) -> None:
        self._root = root
        self._search_path = search_path
        self.largest_push = largest_push
        self._making = asyncio.Lock()

    def prepare(self) -> None:
        """Make the root and its hooks: for all repositories the same, and always of this installation."""
        hooks = self._root / ".hooks"
        hooks.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._root / ".home").mkdir(exist_ok=True, mode=0o700)
        script = hooks / "post-receive"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{hook.__file__}"\n')
        script.chmod(stat.S_IRWXU)

    def path(self, repository: Key) -> Path:
        """Raises Invalid for a name that is none."""
        for name in repository:
            if not names.is_dns_label(name):
                raise Invalid(
                    f'"{name[:80]}" is not a repository\'s name',
                    hint="Push to /git/<namespace>/<name>.git, both in lower-case letters, digits and dashes.",
                )
        return self._root / repository.namespace / f"{repository.name}.git"

    def existing(self, repository: Key) -> Path:
        """Raises NotFound, Invalid."""
        path = self.path(repository)
        if not (path / "HEAD").is_file():
            raise NotFound(f"there is no repository {repository}", hint="The first push makes it.")
        return path

    async def made(self, repository: Key) -> Path:
        """The path, after making the repository if there was none. Raises Invalid, Unavailable."""
        path = self.path(repository)
        async with self._making:
            if not (path / "HEAD").is_file():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                command = ["git", "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(path)]
                await self.output(command, path.parent)
        return path

    def command(self, service: str, *arguments: str) -> list[str]:
        """The argv of a git service with our settings."""
        settings = (*_SETTINGS, f"core.hooksPath={self._root / '.hooks'}", f"receive.maxInputSize={self.largest_push}")
        return ["git", *(part for setting in settings for part in ("-c", setting)), service, *arguments]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            "PATH": self._search_path,
            "HOME": str(self._root / ".home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C.UTF-8",
            **(more or {}),
        }

    async def output(self, command: Sequence[str], directory: Path, *, deadline: float = 30.0) -> bytes:
        """What a short git command prints. Raises Unavailable when it fails or takes too long."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=self.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(deadline):
                out, err = await process.communicate()
        except TimeoutError as error:
            raise Unavailable(f"{' '.join(command[:2])} took longer than {deadline} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise Unavailable(f"{' '.join(command[:2])} failed: {err.decode(errors='replace').strip()[:500]}")
        return out
