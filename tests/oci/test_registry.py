"""The embedded registry and our client, against each other and against skopeo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from funcs.errors import Invalid, NotFound, Unauthorized
from funcs.oci import model, reference, transfer
from funcs.oci.credentials import Credential, Credentials
from funcs.oci.layout import Layout
from funcs.oci.model import Descriptor, Platform
from funcs.oci.registry import Delays, Registry, RegistrySettings, connect

from .conftest import TOKEN, Running, make_image

AMD64 = Platform(architecture="amd64", os="linux")
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")


@pytest.mark.parametrize("chunk", [0, 7], ids=["whole blobs", "blobs in parts of seven bytes"])
async def test_what_is_pushed_is_pulled(
    registry_server: Running, layout: Layout, image: Descriptor, delays: Delays, tmp_path: Path, chunk: int
) -> None:
    target = reference.parse(f"{registry_server.name}/tests/hello:v1")
    async with connect(registry_server.credentials, delays, RegistrySettings(chunk=chunk)) as registry:
        assert (await transfer.push(registry, layout, image, target)).digest == image.digest
        assert (await registry.resolve(target)).digest == image.digest
        elsewhere = Layout(tmp_path / "elsewhere")
        assert (await transfer.pull(registry, elsewhere, target, AMD64)).digest == image.digest
    assert elsewhere.read(image.digest) == layout.read(image.digest)
    assert registry_server.layout.tags("tests/hello") == ["v1"]


async def test_only_missing_blobs_are_sent(
    registry_server: Running, layout: Layout, image: Descriptor, delays: Delays
) -> None:
    seen: list[bool] = []

    def report(progress: transfer.Progress) -> None:
        seen.append(progress.moved)

    target = reference.parse(f"{registry_server.name}/tests/hello:v1")
    async with connect(registry_server.credentials, delays) as registry:
        await transfer.push(registry, layout, image, target)
        await transfer.push(registry, layout, image, target, transfer.Push(report=report))
    assert seen == [False, False]


async def test_writes_need_a_token_and_reads_do_not(
    registry_server: Running, layout: Layout, image: Descriptor, delays: Delays
) -> None:
    target = reference.parse(f"{registry_server.name}/tests/hello:v1")
    async with connect(Credentials(), delays) as nobody:
        with pytest.raises(Unauthorized):
            await transfer.push(nobody, layout, image, target)
        async with connect(registry_server.credentials, delays) as somebody:
            await transfer.push(somebody, layout, image, target)
        assert (await nobody.resolve(target)).digest == image.digest
    wrong = Credentials(given={registry_server.name: Credential("tests", "another token")})
    async with connect(wrong, delays) as stranger:
        with pytest.raises(Unauthorized):
            await transfer.push(stranger, layout, image, target)


async def test_what_is_absent_is_named(registry_server: Running, delays: Delays) -> None:
    async with connect(Credentials(), delays) as registry:
        with pytest.raises(NotFound, match="tests/nothing"):
            await registry.resolve(reference.parse(f"{registry_server.name}/tests/nothing:v1"))


async def test_an_index_is_pulled_for_the_platform_asked(
    registry_server: Running, layout: Layout, delays: Delays, tmp_path: Path
) -> None:
    one, two = make_image(layout, b"one"), make_image(layout, b"two")
    entries = [
        Descriptor(media_type=image.media_type, digest=image.digest, size=image.size, platform=platform)
        for image, platform in ((one, AMD64), (two, Platform(architecture="arm64", os="linux")))
    ]
    index = model.encode(model.Index(schema_version=2, media_type=model.OCI_INDEX, manifests=entries))
    stored = layout.put_manifest("tests/many", index, model.OCI_INDEX, "latest")
    target = reference.parse(f"{registry_server.name}/tests/many")
    async with connect(registry_server.credentials, delays) as registry:
        await transfer.push(registry, layout, stored, target.tagged("latest"))
        elsewhere = Layout(tmp_path / "elsewhere")
        assert (await transfer.pull(registry, elsewhere, target, AMD64)).digest == one.digest
        with pytest.raises(NotFound, match="linux/s390x; it has linux/amd64, linux/arm64"):
            await transfer.pull(registry, elsewhere, target, Platform(architecture="s390x", os="linux"))


HOSTILE = [
    "/v2/../../etc/passwd",
    "/v2/a/blobs/sha256:..%2f..%2fformat",
    "/v2/a/blobs/sha256:" + "A" * 64,
    "/v2/a/blobs/md5:" + "a" * 32,
    "/v2/a%2F..%2Fb/manifests/latest",
    "/v2/_uploads/manifests/latest",
    "/v2/a/manifests/..",
    "/v2/a/manifests/-x",
    "/v2/" + "a" * 300 + "/tags/list",
    "/v2/a/tags/list?n=-1",
    "/v2/a/referrers/latest",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_refused_with_an_error_document(registry_server: Running, path: str) -> None:
    host, _, port = registry_server.name.partition(":")
    response = _raw(host, int(port), path)
    assert 400 <= response.status_code < 500
    assert path.startswith("/v2/../") or response.json()["errors"][0]["code"].isupper()


def test_a_blob_is_served_in_ranges(registry_server: Running) -> None:
    digest = registry_server.layout.put(b"0123456789")
    response = httpx.get(
        f"http://{registry_server.name}/v2/any/blobs/{digest}", headers={"range": "bytes=2-4"}, trust_env=False
    )
    assert (response.status_code, response.content) == (206, b"234")
    assert response.headers["docker-distribution-api-version"] == "registry/2.0"


def test_a_blob_of_another_digest_is_not_stored(registry_server: Running) -> None:
    with _writer(registry_server) as client:
        place = client.post("/v2/a/blobs/uploads/").headers["location"]
        wrong = "sha256:" + "0" * 64
        response = client.put(place, params={"digest": wrong}, content=b"content")
        assert response.status_code == 400
        assert response.json()["errors"][0]["code"] == "DIGEST_INVALID"
        assert client.get(place).status_code == 404
    assert not registry_server.layout.has(wrong)


def test_an_upload_goes_on_where_it_ended_and_nowhere_else(registry_server: Running) -> None:
    with _writer(registry_server) as client:
        place = client.post("/v2/a/blobs/uploads/").headers["location"]
        assert client.patch(place, headers={"content-range": "0-2"}, content=b"abc").headers["range"] == "0-2"
        assert client.patch(place, headers={"content-range": "7-9"}, content=b"xyz").status_code == 416
        assert client.get(place).headers["range"] == "0-2"
        digest = model.digest_of(b"abcdef")
        done = client.put(place, params={"digest": digest}, headers={"content-range": "3-5"}, content=b"def")
        assert done.status_code == 201
        mounted = client.post("/v2/b/blobs/uploads/", params={"mount": digest, "from": "a"})
        assert (mounted.status_code, mounted.headers["location"]) == (201, f"/v2/b/blobs/{digest}")


def test_a_manifest_that_names_what_is_not_there_is_refused(registry_server: Running, image: Descriptor) -> None:
    data = Path(registry_server.layout.root.parent / "images" / "blobs" / "sha256" / image.digest[7:]).read_bytes()
    with _writer(registry_server) as client:
        response = client.put("/v2/a/manifests/v1", content=data, headers={"content-type": image.media_type})
    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_tags_come_in_pages(registry_server: Running) -> None:
    for tag in ("a", "b", "c"):
        make_image(registry_server.layout, b"x", "tests/pages", tag)
    with _writer(registry_server) as client:
        first = client.get("/v2/tests/pages/tags/list", params={"n": 2})
        assert first.json() == {"name": "tests/pages", "tags": ["a", "b"]}
        assert first.links["next"]["url"] == "/v2/tests/pages/tags/list?n=2&last=b"
        second = client.get(first.links["next"]["url"])
        assert second.json()["tags"] == ["c"]
        assert "link" not in second.headers
        assert client.get("/v2/_catalog").json() == {"repositories": ["tests/pages"]}


def test_referrers_are_found_by_their_subject(registry_server: Running) -> None:
    subject = make_image(registry_server.layout, b"x", "tests/subject")
    empty = registry_server.layout.put(b"{}")
    sbom = {
        "schemaVersion": 2,
        "mediaType": model.OCI_MANIFEST,
        "artifactType": "application/vnd.cyclonedx+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
    }
    with _writer(registry_server) as client:
        data = json.dumps(sbom).encode()
        place = f"/v2/tests/subject/manifests/{model.digest_of(data)}"
        put = client.put(place, content=data, headers={"content-type": model.OCI_MANIFEST})
        assert put.headers["oci-subject"] == subject.digest
        found = client.get(f"/v2/tests/subject/referrers/{subject.digest}").json()["manifests"]
        assert [entry["artifactType"] for entry in found] == ["application/vnd.cyclonedx+json"]
        other = client.get(f"/v2/tests/subject/referrers/{subject.digest}", params={"artifactType": "text/plain"})
        assert other.json()["manifests"] == []


def test_a_deleted_tag_leaves_its_digest(registry_server: Running) -> None:
    stored = make_image(registry_server.layout, b"x", "tests/gone")
    with _writer(registry_server) as client:
        assert client.delete("/v2/tests/gone/manifests/latest").status_code == 202
        assert client.get("/v2/tests/gone/manifests/latest").status_code == 404
        assert client.get(f"/v2/tests/gone/manifests/{stored.digest}").status_code == 200
        assert client.delete(f"/v2/tests/gone/manifests/{stored.digest}").status_code == 202
        assert client.get(f"/v2/tests/gone/manifests/{stored.digest}").status_code == 404


@needs_skopeo
def test_skopeo_copies_in_and_out(registry_server: Running, layout: Layout, image: Descriptor, tmp_path: Path) -> None:
    target = f"docker://{registry_server.name}/tests/skopeo:v1"
    _skopeo(
        "copy",
        "--dest-tls-verify=false",
        f"--dest-creds=tests:{TOKEN}",
        f"oci:{layout.root}:tests/hello:latest",
        target,
    )
    assert registry_server.layout.resolve("tests/skopeo", "v1") == image
    _skopeo("copy", "--src-tls-verify=false", target, f"oci:{tmp_path / 'out'}:v1")
    index = json.loads((tmp_path / "out" / "index.json").read_bytes())
    assert index["manifests"][0]["digest"] == image.digest
    inspected = json.loads(_skopeo("inspect", "--tls-verify=false", target))
    assert inspected["RepoTags"] == ["v1"]


@needs_skopeo
def test_skopeo_without_a_token_may_not_write(registry_server: Running, layout: Layout, image: Descriptor) -> None:
    source = f"oci:{layout.root}:tests/hello:latest"
    with pytest.raises(AssertionError, match="unauthorized"):
        _skopeo("copy", "--dest-tls-verify=false", source, f"docker://{registry_server.name}/tests/skopeo:v1")
    assert registry_server.layout.repositories() == []


class _Script:
    """A registry that answers from a list."""

    def __init__(self, *answers: httpx.Response | type[Exception]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, type):
            raise answer("scripted")
        return answer

    def client(self, delays: Delays, credentials: Credentials | None = None) -> Registry:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return Registry(client, credentials or Credentials(), delays, RegistrySettings())


KNOWN = Credentials(given={"example.org": Credential("me", "secret")})
BUSY = httpx.Response(503)


async def test_a_busy_registry_is_asked_again(delays: Delays) -> None:
    script = _Script(httpx.ConnectError, BUSY, httpx.Response(200))
    assert await script.client(delays).has_blob(reference.parse("example.org/a"), "sha256:" + "0" * 64)
    assert len(script.requests) == 3


async def test_a_redirect_never_sees_our_credentials(delays: Delays) -> None:
    content = b"content"
    script = _Script(
        httpx.Response(401, headers={"www-authenticate": 'Basic realm="x"'}),
        httpx.Response(307, headers={"location": "https://elsewhere.example/blob"}),
        httpx.Response(200, content=content),
    )
    descriptor = model.described(content, model.OCI_LAYER)
    async with script.client(delays, KNOWN).blob(reference.parse("example.org/a"), descriptor) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == content
    assert "authorization" in script.requests[1].headers
    assert "authorization" not in script.requests[2].headers


async def test_a_redirect_to_plain_http_is_refused(delays: Delays) -> None:
    script = _Script(httpx.Response(302, headers={"location": "http://169.254.169.254/"}))
    with pytest.raises(Invalid, match=r"169\.254\.169\.254"):
        await script.client(delays).has_blob(reference.parse("example.org/a"), "sha256:" + "0" * 64)


async def test_credentials_go_to_no_token_server_without_tls(delays: Delays) -> None:
    script = _Script(httpx.Response(401, headers={"www-authenticate": 'Bearer realm="http://example.net/token"'}))
    with pytest.raises(Unauthorized, match="without TLS"):
        await script.client(delays, KNOWN).resolve(reference.parse("example.org/a"))


async def test_content_that_is_not_what_its_digest_says_is_refused(delays: Delays) -> None:
    script = _Script(httpx.Response(200, content=b"evil!!!"))
    descriptor = model.described(b"content", model.OCI_LAYER)
    async with script.client(delays).blob(reference.parse("example.org/a"), descriptor) as chunks:
        with pytest.raises(Invalid, match="other content"):
            async for _ in chunks:
                pass


def _writer(running: Running) -> httpx.Client:
    headers = {"authorization": f"Bearer {TOKEN}"}
    return httpx.Client(base_url=f"http://{running.name}", headers=headers, trust_env=False)


def _raw(host: str, port: int, path: str) -> httpx.Response:
    """The path as it is: httpx would tidy it up."""
    request = httpx.Request("GET", f"http://{host}:{port}/", extensions={"target": path.encode()})
    with httpx.Client(trust_env=False) as client:
        return client.send(request)


def _skopeo(*words: str) -> bytes:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "REGISTRY_AUTH_FILE": "/nonexistent/auth.json"}
    command = ["skopeo", "--insecure-policy", *words]
    done = subprocess.run(command, check=False, capture_output=True, timeout=30, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
