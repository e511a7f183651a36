# ruff: noqa: E501 - tables read best in rows
"""The embedded git server, with the real git client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from funcs.api.meta import Key
from funcs.errors import Forbidden, FuncsError, Unauthorized, Unavailable
from runtimes.cluster.api.server import serve
from runtimes.cluster.git.arrivals import Arrivals
from runtimes.cluster.git.push import Commit, Update, is_skipped, why_not
from runtimes.cluster.git.repositories import Repositories
from runtimes.cluster.git.server import GitServer
from runtimes.cluster.git.webhook import Webhook

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is missing")

TOKENS = {"Basic " + base64.b64encode(b"funcs:secret").decode(): "alice"}


def authorize(headers: Mapping[str, str], repository: Key, action: str) -> str:
    if action == "read" and "authorization" not in headers:
        return "anonymous"
    user = TOKENS.get(headers.get("authorization", ""))
    if user is None:
        raise Unauthorized("a push needs a token")
    if repository.namespace == "closed":
        raise Forbidden(f"{user} may not push to {repository}")
    return user


@dataclass
class Platform:
    """What stands behind the server: an EventListener and a pipeline, both of paper."""

    told: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 202
    unreachable: bool = False
    silent: bool = False
    lines: list[str] = field(default_factory=lambda: ["[build] ok", "deployed"])
    error: FuncsError | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)
    waits: bool = False
    followed_to_the_end: bool = False

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        if self.unreachable:
            raise Unavailable("no connection to the EventListener")
        self.told.append((url, dict(headers), body))
        return self.status, b'{"eventID": "e-1"}'

    async def follow(self, event_id: str, namespace: str) -> AsyncGenerator[str, None]:
        assert (event_id, namespace) == ("e-1", "default")
        if self.silent:
            await asyncio.Event().wait()
        for line in self.lines:
            yield line
        if self.waits:
            await self.release.wait()
        self.followed_to_the_end = True
        if self.error is not None:
            raise self.error


@dataclass
class Served:
    url: str
    port: int
    root: Path
    platform: Platform
    work: Path

    @property
    def remote(self) -> str:
        return self.url.replace("http://", "http://funcs:secret@") + "/git/default/shop.git"

    async def git(self, *arguments: str, at: Path | None = None, ok: bool = True) -> str:
        """What git printed, on both streams."""
        process = await self.start(*arguments, at=at)
        try:
            async with asyncio.timeout(15):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        text = out.decode()
        assert (process.returncode == 0) is ok, text
        return text

    async def start(self, *arguments: str, at: Path | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=at or self.work, env=ENVIRONMENT | {"HOME": str(self.work)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    async def commit(self, name: str = "a.txt", content: str = "a", message: str = "Change") -> str:
        if not (self.work / ".git").exists():
            await self.git("init", "--quiet", "--initial-branch=main")
        (self.work / name).write_text(content)
        await self.git("add", ".")
        await self.git("commit", "--quiet", "-m", message)
        return (await self.git("rev-parse", "HEAD")).strip()


ENVIRONMENT = {
    "PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}  # fmt: skip


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    platform = Platform()
    repositories = Repositories(tmp_path / "git", os.environ["PATH"])
    webhook = Webhook(
        url=lambda repository: "http://hub/listeners/default/git" if repository.name != "plain" else None,
        secret=b"cluster secret", post=platform.post, follow=platform.follow, ids=lambda: "d-1", start=0.5,
    )  # fmt: skip
    arrivals = Arrivals(tmp_path / "hook.sock", repositories, webhook, lambda key: f"{url}/git/{key}.git")
    server = GitServer(repositories, authorize, arrivals)
    work = tmp_path / "work"
    work.mkdir()
    async with server.serving():
        serving = asyncio.create_task(serve(Starlette(routes=server.routes()), sock))
        yield Served(url, port, tmp_path / "git", platform, work)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_push_makes_the_repository_tells_the_listener_and_hears_the_pipeline(served: Served) -> None:
    commit = await served.commit(message="Say hello\n\nat length")
    said = await served.git("push", served.remote, "main")
    assert f"remote: main is at {commit[:12]}; event e-1" in said
    assert "remote: [build] ok" in said
    assert "remote: deployed" in said
    ((url, headers, body),) = served.platform.told
    assert url == "http://hub/listeners/default/git"
    assert headers["x-github-event"] == "push"
    assert headers["x-github-delivery"] == "d-1"
    assert headers["x-hub-signature-256"] == "sha256=" + hmac.new(b"cluster secret", body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert (told["ref"], told["before"], told["after"]) == ("refs/heads/main", "0" * 40, commit)
    assert told["repository"]["full_name"] == "default/shop"
    assert told["repository"]["clone_url"] == served.url + "/git/default/shop.git"
    assert told["head_commit"]["message"] == "Say hello\n\nat length"
    assert told["head_commit"]["author"] == {"name": "Ann", "email": "ann@example.org"}
    assert told["pusher"] == {"name": "alice"}


async def test_what_was_pushed_can_be_cloned_without_a_token_and_fetched_by_commit(served: Served) -> None:
    first = await served.commit(content="one")
    await served.commit(content="two")
    await served.git("push", "--quiet", served.remote, "main")
    url = f"{served.url}/git/default/shop.git"
    await served.git("clone", "--quiet", url, "copy")
    assert (served.work / "copy" / "a.txt").read_text() == "two"
    await served.git("init", "--quiet", "shallow")
    await served.git("fetch", "--quiet", "--depth=1", url, first, at=served.work / "shallow")
    await served.git("checkout", "--quiet", "FETCH_HEAD", at=served.work / "shallow")
    assert (served.work / "shallow" / "a.txt").read_text() == "one"
    for version in ("0", "1", "2"):
        assert first not in await served.git("-c", f"protocol.version={version}", "ls-remote", url)


async def test_a_large_push_goes_through(served: Served) -> None:
    (served.work / "big").write_bytes(os.urandom(4 * 1024 * 1024))
    await served.commit()
    await served.git("push", "--quiet", served.remote, "main")
    await served.git("clone", "--quiet", served.remote, "copy")
    assert (served.work / "copy" / "big").read_bytes() == (served.work / "big").read_bytes()


async def test_a_push_without_a_token_is_refused_and_makes_nothing(served: Served) -> None:
    await served.commit()
    said = await served.git("push", f"{served.url}/git/default/shop.git", "main", ok=False)
    assert "could not read Username" in said
    assert not (served.root / "default").exists()


async def test_a_push_by_one_who_may_not_is_refused(served: Served) -> None:
    await served.commit()
    said = await served.git("push", served.remote.replace("/default/", "/closed/"), "main", ok=False)
    assert "403" in said
    assert "alice may not push to closed/shop" in said


async def test_reading_what_is_not_there_is_404(served: Served) -> None:
    said = await served.git("clone", f"{served.url}/git/default/none.git", ok=False)
    assert "not found" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("refs/tags/v1",), "refs/tags/v1 is not a branch: nothing is built"),
        (("--delete", "other"), "other is deleted: nothing is built"),
        (("-o", "skip-ci", "main:again"), "skipped, as the push option asks"),
    ],
)
async def test_what_is_not_built_is_said(served: Served, arguments: tuple[str, ...], says: str) -> None:
    await served.commit()
    await served.git("tag", "v1")
    await served.git("push", "--quiet", served.remote, "main", "main:other")
    served.platform.told.clear()
    options = [argument for argument in arguments if argument != "main:again"]
    refs = [argument for argument in arguments if argument == "main:again"]
    where = [*options[:-1], served.remote, options[-1]] if not refs else [*options, served.remote, *refs]
    said = await served.git("push", *where)
    assert f"remote: {says}" in said
    assert served.platform.told == []


async def test_a_commit_may_ask_not_to_be_built(served: Served) -> None:
    await served.commit(message="Docs [skip ci]")
    assert "remote: skipped, as the commit's message asks" in await served.git("push", served.remote, "main")
    assert served.platform.told == []


async def test_a_repository_without_a_listener_is_just_stored(served: Served) -> None:
    await served.commit()
    said = await served.git("push", served.remote.replace("shop", "plain"), "main")
    assert "no EventListener: the push is stored, nothing is built" in said


async def test_a_pipeline_that_never_starts_does_not_hold_the_push(served: Served) -> None:
    served.platform.silent = True
    await served.commit()
    said = await served.git("push", served.remote, "main")
    assert "remote: the push is stored, but no pipeline started within 0.5 s" in said
    assert "kubectl get eventlisteners,pipelineruns" in said


async def test_a_pipeline_that_fails_says_so(served: Served) -> None:
    served.platform.error = Unavailable("PipelineRun shop-1 failed: TestsFailed")
    await served.commit()
    said = await served.git("push", served.remote, "main")
    assert "remote: PipelineRun shop-1 failed: TestsFailed" in said


@pytest.mark.parametrize(("status", "unreachable"), [(500, False), (202, True)])
async def test_a_listener_that_does_not_accept_is_said_and_the_push_is_stored(
    served: Served, status: int, unreachable: bool
) -> None:
    served.platform.status, served.platform.unreachable = status, unreachable
    commit = await served.commit()
    said = await served.git("push", served.remote, "main")
    assert "remote: " + ("no connection" if unreachable else "the push is stored, but the EventListener") in said
    assert commit in await served.git("ls-remote", served.remote)


async def test_a_pusher_who_leaves_does_not_stop_the_pipeline(served: Served) -> None:
    served.platform.waits = True
    await served.commit()
    pushing = await served.start("push", served.remote, "main")
    assert pushing.stdout is not None
    async with asyncio.timeout(10):
        while b"[build] ok" not in await pushing.stdout.readline():
            pass
    os.killpg(pushing.pid, signal.SIGKILL)
    await pushing.wait()
    served.platform.lines = []
    served.platform.release.set()
    async with asyncio.timeout(10):
        while not served.platform.followed_to_the_end:
            await asyncio.sleep(0.01)


async def test_a_terminal_gets_no_control_characters(served: Served) -> None:
    served.platform.lines = ["a\x1b[31mb\rc\x07"]
    await served.commit()
    said = await served.git("push", served.remote, "main")
    assert "remote: a [31mb c " in said


REFS = "/info/refs?service=git-upload-pack"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/git/default/..git" + REFS, {}, 422),
        ("GET", "/git/default/%2e%2e%2fx.git" + REFS, {}, 405),
        ("GET", "/git/..%2f/x.git" + REFS, {}, 404),
        ("GET", "/git/default/-x.git" + REFS, {}, 422),
        ("GET", "/git/.hooks/x.git" + REFS, {}, 422),
        ("GET", "/git/default/UPPER.git" + REFS, {}, 422),
        ("GET", "/git/default/x.git" + REFS, {}, 404),
        ("GET", "/git/default/x.git/info/refs", {}, 403),
        ("GET", "/git/default/x.git/info/refs?service=git-upload-archive", {}, 403),
        ("GET", "/git/default/x.git/HEAD", {}, 405),
        ("GET", "/git/default/x.git/objects/info/packs", {}, 405),
        ("GET", "/git/default/x.git/info/refs?service=git-receive-pack", {}, 401),
        ("GET", "/git/default/x.git/info/refs?service=git-receive-pack", {"authorization": "Bearer nonsense"}, 401),
        ("POST", "/git/default/x.git/git-receive-pack", {"content-type": "application/x-git-receive-pack-request"}, 401),
        ("POST", "/git/default/x.git/git-upload-pack", {"content-type": "text/plain"}, 415),
        ("POST", "/git/default/x.git/git-shell", {}, 400),
    ],
)  # fmt: skip
async def test_the_answer(served: Served, method: str, path: str, headers: dict[str, str], status: int) -> None:
    async with httpx.AsyncClient(base_url=served.url) as http:
        answer = await http.request(method, path, headers=headers)
    assert answer.status_code == status, answer.text
    assert ("www-authenticate" in answer.headers) is (status == 401)
    assert not (served.root / "default").exists()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(bytes(200 * 1024 * 1024), 1), "gzip"),
        (b"not gzip", "gzip"),
        (gzip.compress(b"0011command=fetch")[:-4], "gzip"),
        (b"zzzz", ""),
        (b"", ""),
        (b"x", "br"),
    ],
)
async def test_a_hostile_request_ends_and_the_server_serves_on(served: Served, body: bytes, encoding: str) -> None:
    await served.commit()
    await served.git("push", "--quiet", served.remote, "main")
    headers = {"content-type": "application/x-git-upload-pack-request", "content-encoding": encoding}
    async with httpx.AsyncClient(base_url=served.url, timeout=20) as http:
        with contextlib.suppress(httpx.RemoteProtocolError):
            await http.post("/git/default/shop.git/git-upload-pack", content=body, headers=headers)
    assert "refs/heads/main" in await served.git("ls-remote", f"{served.url}/git/default/shop.git")


async def test_a_hook_that_is_not_of_a_push_of_ours_is_not_heard(served: Served) -> None:
    reader, writer = await asyncio.open_unix_connection(served.root.parent / "hook.sock")
    told = {"push": "guess", "updates": [["0" * 40, "1" * 40, "refs/heads/main"]], "options": []}
    writer.write(json.dumps(told).encode() + b"\n")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert served.platform.told == []


@pytest.mark.parametrize(
    ("ref", "after", "options", "reason"),
    [
        ("refs/heads/main", "1" * 40, (), ""),
        ("refs/heads/main", "1" * 64, (), ""),
        ("refs/heads/main", "0" * 40, (), "main is deleted"),
        ("refs/tags/v1", "1" * 40, (), "is not a branch"),
        ("refs/notes/x", "1" * 40, (), "is not a branch"),
        ("refs/heads/main", "1" * 40, ("skip-ci",), "push option"),
        ("refs/heads/main", "1" * 40, ("param.x=y",), ""),
    ],
)
def test_what_is_news(ref: str, after: str, options: tuple[str, ...], reason: str) -> None:
    found = why_not(Update("0" * 40, after, ref), options)
    assert reason in found
    assert bool(found) is bool(reason)


def test_marks_to_skip() -> None:
    assert is_skipped(Commit("1", message="x\n\n[CI skip]"))
    assert not is_skipped(Commit("1", message="skip ci"))
