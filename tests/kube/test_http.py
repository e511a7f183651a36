"""The HTTP Client's own: endpoints, Status as errors, and servers that misbehave."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from funcs.api.core import CONFIG_MAP, POD
from funcs.api.serving import SERVICE
from funcs.control.client import LogOptions, PatchType, Selection, WriteOptions
from funcs.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    FuncsError,
    Invalid,
    NotFound,
    Timeout,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from funcs.kube import HttpClient, from_kubeconfig, in_cluster, to_server
from funcs.kube.failures import failure
from funcs.kube.lines import LONGEST, lines
from funcs.kube.paths import collection, item

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, token: str = "") -> AsyncIterator[HttpClient]:
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    client = HttpClient(to_server(f"http://127.0.0.1:{runner.addresses[0][1]}", token=token))
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


def answering(body: bytes, status: int = 200) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type="application/json")

    return handler


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Expired),
        (415, "UnsupportedMediaType", UnsupportedMediaType),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (504, "Timeout", Timeout),
        (500, "InternalError", FuncsError),
    ],
)
def test_a_status_is_one_of_our_errors(code: int, reason: str, error: type[FuncsError]) -> None:
    status = {"kind": "Status", "message": "said", "reason": reason, "code": code}
    found = failure(code, json.dumps(status).encode(), "GET /x")
    assert type(found) is error
    assert (str(found), found.reason) == ("said", reason)


def test_the_causes_of_a_status_are_kept() -> None:
    details = {"causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.x"}]}
    found = failure(422, json.dumps({"kind": "Status", "code": 422, "details": details}).encode(), "POST /x")
    assert [(cause.message, cause.path) for cause in found.causes] == [("Required value", "spec.x")]


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"", b"[]", b'{"kind": "Status", "details": 5}'])
def test_an_answer_that_is_no_status_still_makes_a_clear_error(body: bytes) -> None:
    found = failure(502, body, "GET /x")
    assert type(found) is Unavailable
    assert "GET /x: HTTP 502" in str(found)


def test_names_cannot_leave_their_place_in_the_path() -> None:
    assert item(CONFIG_MAP, "../../secrets", "a/b") == "/api/v1/namespaces/a%2Fb/configmaps/..%2F..%2Fsecrets"
    assert item(POD, "..", "default", "log") == "/api/v1/namespaces/default/pods/%2E%2E/log"
    assert collection(SERVICE, None) == "/apis/serving.knative.dev/v1/services"


async def test_requests_say_what_they_want_and_who_asks() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.rel_url.raw_path_qs, request.content_type, await request.text()))
        assert request.headers["Authorization"] == "Bearer secret"
        return web.json_response({"kind": "ConfigMap"})

    async with serving(handler, token="secret") as client:
        await client.apply(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "n"}}, WriteOptions(manager="me"))
        await client.patch(CONFIG_MAP, "a", [], type=PatchType.JSON, options=WriteOptions(dry_run=True))
        await client.list(CONFIG_MAP, Selection(labels="a in (b)", limit=5))
    assert seen == [
        (
            "PATCH",
            "/api/v1/namespaces/n/configmaps/a?fieldManager=me&fieldValidation=Warn&force=true",
            "application/apply-patch+yaml",
            '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"n"}}',
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/a?fieldManager=funcs&dryRun=All&fieldValidation=Warn",
            "application/json-patch+json",
            "[]",
        ),
        ("GET", "/api/v1/configmaps?labelSelector=a+in+%28b%29&limit=5", "application/octet-stream", ""),
    ]


@pytest.mark.parametrize("body", [b"not json", b"[]", b"\xff"])
async def test_an_answer_that_makes_no_sense_is_unavailable(body: bytes) -> None:
    async with serving(answering(body)) as client:
        with pytest.raises(Unavailable):
            await client.get(CONFIG_MAP, "a")


async def test_a_redirect_is_not_followed() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:1/")

    async with serving(handler, token="secret") as client:
        with pytest.raises(Unavailable):
            await client.get(CONFIG_MAP, "a")


async def test_nobody_there_is_unavailable() -> None:
    client = HttpClient(to_server("http://127.0.0.1:1"))
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1") as caught:
        await client.get(CONFIG_MAP, "a")
    assert caught.value.hint
    await client.close()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}}\n', Expired),
        (b'{"type":"WHAT","object":{}}\n', Unavailable),
        (b"nonsense\n", Unavailable),
        (b'{"type":"ADDED"}\n', Unavailable),
    ],
)
async def test_a_watch_that_goes_wrong_says_so(body: bytes, error: type[FuncsError]) -> None:
    async with serving(answering(body)) as client:
        with pytest.raises(error):
            await anext(client.watch(CONFIG_MAP, resource_version="1"))


async def test_a_connection_that_breaks_in_a_watch_is_unavailable() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n{"type":')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with serving(handler) as client:
        watch = client.watch(CONFIG_MAP, resource_version="1")
        assert (await anext(watch)).object["metadata"]["name"] == "a"
        with pytest.raises(Unavailable):
            await anext(watch)


async def test_logs_stream() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.rel_url.path_qs == "/api/v1/namespaces/n/pods/p/log?container=c&follow=true&tailLines=5"
        return web.Response(body=b"one\ntwo\n")

    async with serving(handler) as client:
        chunks = [
            chunk async for chunk in client.stream_log("p", "n", LogOptions(container="c", follow=True, tail_lines=5))
        ]
    assert b"".join(chunks) == b"one\ntwo\n"


async def test_fresh_credentials_are_asked_for_once() -> None:
    asked: list[bool] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        ok = request.headers.get("Authorization") == "Bearer fresh"
        return web.json_response({"kind": "ConfigMap"}, status=200 if ok else 401)

    async def authorize(fresh: bool) -> str:
        asked.append(fresh)
        return "Bearer fresh" if fresh else "Bearer stale"

    async with serving(handler) as client:
        object.__setattr__(client._endpoint, "authorize", authorize)
        assert await client.get(CONFIG_MAP, "a")
    assert asked == [False, True]


async def test_lines_are_put_together_and_bounded() -> None:
    async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    found = [line async for line in lines(chunks(b"a", b"b\nc\n", b"\n", b"d"))]
    assert found == [b"ab", b"c", b"d"]
    with pytest.raises(Unavailable, match="more than"):
        async for _ in lines(chunks(*[b"x" * (LONGEST // 4)] * 6)):
            pass


def kubeconfig(path: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "mine"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"tokenFile": "token"}, "Bearer from-file"),
        ({"username": "u", "password": "p"}, "Basic " + base64.b64encode(b"u:p").decode()),
        ({}, ""),
    ],
)
async def test_a_kubeconfig_says_who_we_are(tmp_path: Path, user: dict[str, Any], header: str) -> None:
    (tmp_path / "token").write_text("from-file\n")
    endpoint = await from_kubeconfig(kubeconfig(tmp_path / "config", user))
    assert (endpoint.server, endpoint.namespace) == ("http://127.0.0.1:1", "mine")
    assert await endpoint.authorize(False) == header
    assert "Bearer" not in repr(endpoint)


async def test_an_exec_plugin_is_run_by_the_official_package(tmp_path: Path) -> None:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "run"}}
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "cat",
        "args": [str(tmp_path / "credential.json")],
        "interactiveMode": "Never",
    }
    endpoint = await from_kubeconfig(kubeconfig(tmp_path / "config", {"exec": plugin}))
    assert await endpoint.authorize(False) == "Bearer run"
    credential["status"] = {"token": "again"}
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    assert await endpoint.authorize(True) == "Bearer again"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not a kubeconfig"),
        ("[]", "holds no mapping"),
        ("{}", "no current-context"),
        ("{current-context: x}", 'no context "x"'),
    ],
)
async def test_a_bad_kubeconfig_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(BadRequest, match=words) as caught:
        await from_kubeconfig(tmp_path / "config")
    assert str(tmp_path / "config") in str(caught.value)


async def test_a_missing_kubeconfig_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        await from_kubeconfig(tmp_path / "config")
    assert caught.value.hint == "Start a cluster with `funcs up`."


async def test_a_bad_certificate_is_named(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority-data": base64.b64encode(b"nonsense").decode()}
    with pytest.raises(BadRequest, match="certificates cannot be used"):
        await from_kubeconfig(kubeconfig(tmp_path / "config", {}, cluster))


async def test_a_pod_knows_its_cluster(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no service account"):
        in_cluster(tmp_path, "10.0.0.1", "443")
    (tmp_path / "token").write_text("one")
    (tmp_path / "ca.crt").write_text(_authority())
    (tmp_path / "namespace").write_text("mine")
    endpoint = in_cluster(tmp_path, "::1", "443")
    assert (endpoint.server, endpoint.namespace) == ("https://[::1]:443", "mine")
    assert isinstance(endpoint.tls, ssl.SSLContext)
    (tmp_path / "token").write_text("two")
    assert await endpoint.authorize(False) == "Bearer two"


def _authority() -> str:
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not certificates:
        pytest.skip("this machine trusts no certificate authority that could stand in for a cluster's")
    return ssl.DER_cert_to_PEM_cert(certificates[0])


async def test_leaving_a_watch_closes_its_connection() -> None:
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED","object":{}}\n')
        try:
            while True:
                await response.write(b"\n")
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set()
        return response

    async with serving(handler) as client:
        watch: Any = client.watch(CONFIG_MAP, resource_version="1")
        await anext(watch)
        await watch.aclose()
        async with asyncio.timeout(10):
            await gone.wait()
