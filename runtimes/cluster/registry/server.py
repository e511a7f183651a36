"""The registry's HTTP face: pull, push, discovery, deletion as the OCI distribution specification 1.1 has them.

Law: a name or digest is checked against its grammar before it touches a path; every error is an OCI error document.
Blobs belong to the whole registry: any repository may use any of them, so a mount never copies. Deleting a blob is
refused by name: what nothing refers to is collected. IO: the layout, in threads.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from funcs.errors import BadRequest, FuncsError, Invalid, NotFound, Unauthorized, Unsupported
from funcs.oci import model
from funcs.oci.layout import Layout
from funcs.oci.model import Descriptor, Index, Manifest
from funcs.oci.reference import checked_digest, checked_repository, checked_tag, is_digest, is_registry, is_tag

from .access import NOBODY, Action, Authorize, token_of
from .errors import respond
from .uploads import Upload, Uploads

_VERSION = {"docker-distribution-api-version": "registry/2.0"}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_RANGE = re.compile(r"(\d{1,15})-(\d{1,15})", re.ASCII)
_PAGE = 1000

Handler = Callable[["Call"], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one endpoint: `rest` is what follows the repository's name (a tag, a digest, an upload's id)."""

    request: Request
    repository: str
    rest: str


class RegistryServer:
    """The routes `/v2` and below, to be put into an application. `close` drops unfinished uploads."""

    def __init__(self, layout: Layout, authorize: Authorize, uploads: Uploads) -> None:
        self._layout = layout
        self._authorize = authorize
        self._uploads = uploads
        self._endpoints: list[tuple[re.Pattern[str], dict[str, tuple[Action, Handler]]]] = [
            (re.compile(pattern), methods) for pattern, methods in self._table()
        ]

    def routes(self) -> list[Route]:
        return [
            Route("/v2", self._serve, methods=_METHODS),
            Route("/v2/{path:path}", self._serve, methods=_METHODS),
        ]

    def close(self) -> None:
        self._uploads.close()

    def _table(self) -> list[tuple[str, dict[str, tuple[Action, Handler]]]]:
        manifest: dict[str, tuple[Action, Handler]] = {
            "GET": ("pull", self._get_manifest),
            "HEAD": ("pull", self._get_manifest),
            "PUT": ("push", self._put_manifest),
            "DELETE": ("delete", self._delete_manifest),
        }
        upload: dict[str, tuple[Action, Handler]] = {
            "GET": ("push", self._show_upload),
            "PATCH": ("push", self._append),
            "PUT": ("push", self._finish),
            "DELETE": ("push", self._cancel),
        }
        blob: dict[str, tuple[Action, Handler]] = {
            "GET": ("pull", self._get_blob),
            "HEAD": ("pull", self._get_blob),
            "DELETE": ("delete", self._refuse_blob),
        }
        return [
            ("()(_catalog)", {"GET": ("pull", self._catalog)}),
            ("(.+)/tags/(list)", {"GET": ("pull", self._tags)}),
            ("(.+)/manifests/([^/]+)", manifest),
            ("(.+)/blobs/uploads/?()", {"POST": ("push", self._start)}),
            ("(.+)/blobs/uploads/([^/]+)", upload),
            ("(.+)/blobs/([^/]+)", blob),
            ("(.+)/referrers/([^/]+)", {"GET": ("pull", self._referrers)}),
        ]

    async def _serve(self, request: Request) -> Response:
        try:
            response = await self._dispatch(request)
        except ClientDisconnect:
            response = Response(status_code=499)
        except FuncsError as error:
            response = respond(error)
            if isinstance(error, Unauthorized):
                response.headers["www-authenticate"] = _challenge(request)
        response.headers.update(_VERSION)
        return response

    async def _dispatch(self, request: Request) -> Response:
        path = request.path_params.get("path", "")
        if path == "":
            self._authorize(request.headers, "", "pull")
            if "authorization" not in request.headers:
                raise Unauthorized("say who you are, or ask for a token that names nobody")
            return Response(b"{}", media_type="application/json")
        if path == "token":
            return self._token(request)
        for pattern, methods in self._endpoints:
            if (found := pattern.fullmatch(path)) is not None:
                return await self._call(request, methods, found[1], found[2])
        raise NotFound(f"no endpoint {path[:200]!r}", reason="Unsupported")

    async def _call(
        self, request: Request, methods: dict[str, tuple[Action, Handler]], repository: str, rest: str
    ) -> Response:
        if request.method not in methods:
            raise Unsupported(f"{request.method} is not done here")
        if repository:
            checked_repository(repository)
        action, handler = methods[request.method]
        self._authorize(request.headers, repository, action)
        return await handler(Call(request, repository, rest))

    def _token(self, request: Request) -> Response:
        """The token endpoint of the Bearer scheme."""
        token = token_of(request.headers)
        if token:
            self._authorize(request.headers, "", "login")
        return _json({"token": token or NOBODY, "access_token": token or NOBODY, "expires_in": 300})

    # pull

    async def _get_manifest(self, call: Call) -> Response:
        descriptor = self._found(call.repository, call.rest)
        data = await asyncio.to_thread(self._layout.read, descriptor.digest)
        headers = {"docker-content-digest": descriptor.digest, "etag": f'"{descriptor.digest}"'}
        response = Response(data, media_type=descriptor.media_type, headers=headers)
        if call.request.method == "HEAD":
            response.body = b""
        return response

    async def _get_blob(self, call: Call) -> Response:
        digest = checked_digest(call.rest)
        if not await asyncio.to_thread(self._layout.renew, digest):
            raise NotFound(f"no blob {digest}", reason="BlobUnknown")
        headers = {"docker-content-digest": digest, "etag": f'"{digest}"'}
        path = self._layout.blob_path(digest)
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    # push

    async def _start(self, call: Call) -> Response:
        query = call.request.query_params
        if "mount" in query:
            digest = checked_digest(query["mount"])
            if "from" in query:
                self._authorize(call.request.headers, checked_repository(query["from"]), "pull")
            if await asyncio.to_thread(self._layout.renew, digest):
                return _created(call.repository, "blobs", digest)
        if "digest" in query:
            checked_digest(query["digest"])
        upload = self._uploads.start(call.repository)
        if "digest" not in query:
            return _progress(upload, 202)
        async with upload.busy:
            return await self._take(call, upload, query["digest"])

    async def _show_upload(self, call: Call) -> Response:
        return _progress(self._uploads.find(call.repository, call.rest), 204)

    async def _append(self, call: Call) -> Response:
        upload = self._uploads.find(call.repository, call.rest)
        async with upload.busy:
            if not _continues(call.request, upload):
                return _progress(upload, 416)
            await self._uploads.append(upload, _body(call.request))
        return _progress(upload, 202)

    async def _finish(self, call: Call) -> Response:
        upload = self._uploads.find(call.repository, call.rest)
        digest = checked_digest(call.request.query_params.get("digest", ""))
        async with upload.busy:
            if not _continues(call.request, upload):
                return _progress(upload, 416)
            return await self._take(call, upload, digest)

    async def _take(self, call: Call, upload: Upload, digest: str) -> Response:
        try:
            await self._uploads.append(upload, _body(call.request))
        except FuncsError:
            self._uploads.cancel(upload)
            raise
        await self._uploads.finish(upload, digest)
        return _created(call.repository, "blobs", digest)

    async def _cancel(self, call: Call) -> Response:
        upload = self._uploads.find(call.repository, call.rest)
        async with upload.busy:
            self._uploads.cancel(upload)
        return Response(status_code=204)

    async def _put_manifest(self, call: Call) -> Response:
        by_digest = is_digest(call.rest)
        tag = "" if by_digest else checked_tag(call.rest)
        data = await _bounded(call.request)
        media_type = call.request.headers.get("content-type", "").partition(";")[0].strip()
        said = model.media_type_of(data, "the manifest")
        if media_type != said:
            raise Invalid(f"the manifest is {said[:120]!r} but sent as {media_type[:120]!r}", reason="ManifestInvalid")
        if by_digest and model.digest_of(data) != call.rest:
            raise Invalid(f"the manifest is {model.digest_of(data)}, not {call.rest}", reason="DigestInvalid")
        descriptor = await asyncio.to_thread(self._layout.put_manifest, call.repository, data, media_type, tag)
        response = _created(call.repository, "manifests", descriptor.digest)
        if (subject := _subject(data, media_type)) is not None:
            response.headers["oci-subject"] = subject.digest
        return response

    # discovery and deletion

    async def _catalog(self, call: Call) -> Response:
        return _page(call, "/v2/_catalog", "repositories", self._layout.repositories(), {})

    async def _tags(self, call: Call) -> Response:
        path = f"/v2/{call.repository}/tags/list"
        return _page(call, path, "tags", self._layout.tags(call.repository), {"name": call.repository})

    async def _referrers(self, call: Call) -> Response:
        digest = checked_digest(call.rest)
        found = await asyncio.to_thread(self._referring, call.repository, digest)
        wanted = call.request.query_params.get("artifactType", "")
        if wanted:
            found = [descriptor for descriptor in found if descriptor.artifact_type == wanted]
        index = Index(schema_version=2, media_type=model.OCI_INDEX, manifests=found)
        headers = {"oci-filters-applied": "artifactType"} if wanted else {}
        return Response(model.encode(index), media_type=model.OCI_INDEX, headers=headers)

    def _referring(self, repository: str, digest: str) -> list[Descriptor]:
        found = []
        for descriptor in self._layout.manifests(repository):
            data = self._layout.read(descriptor.digest)
            subject = _subject(data, descriptor.media_type)
            if subject is not None and subject.digest == digest:
                found.append(_as_referrer(descriptor, data))
        return found

    async def _delete_manifest(self, call: Call) -> Response:
        if not is_digest(call.rest):
            checked_tag(call.rest)
        await asyncio.to_thread(self._layout.delete, call.repository, call.rest)
        return Response(status_code=202)

    async def _refuse_blob(self, call: Call) -> Response:
        raise Unsupported("blobs are shared by all repositories and collected when no manifest needs them")

    def _found(self, repository: str, locator: str) -> Descriptor:
        if not is_digest(locator) and not is_tag(locator):
            raise NotFound(f"neither a tag nor a digest: {locator[:160]!r}", reason="ManifestUnknown")
        descriptor = self._layout.resolve(repository, locator)
        if descriptor is None:
            raise NotFound(f"{repository} has no {locator}", reason="ManifestUnknown")
        return descriptor


def _challenge(request: Request) -> str:
    host = request.headers.get("host", "")
    realm = f"{request.url.scheme}://{host}/v2/token" if is_registry(host) else "/v2/token"
    return f'Bearer realm="{realm}",service="funcs"'


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk


async def _bounded(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > model.LARGEST_MANIFEST:
            raise BadRequest(f"a manifest may have {model.LARGEST_MANIFEST} bytes", reason="SizeInvalid")
    return bytes(data)


def _continues(request: Request, upload: Upload) -> bool:
    """Whether the request's range begins where the upload ends; a request without one goes on from there."""
    said = request.headers.get("content-range")
    if said is None:
        return True
    found = _RANGE.fullmatch(said.strip())
    if found is None:
        raise BadRequest(f"not a range: {said[:80]!r}", reason="BlobUploadInvalid")
    return int(found[1]) == upload.ingest.size


def _progress(upload: Upload, status: int) -> Response:
    headers = {
        "location": f"/v2/{upload.repository}/blobs/uploads/{upload.id}",
        "range": f"0-{max(upload.ingest.size - 1, 0)}",
        "docker-upload-uuid": upload.id,
    }
    return Response(status_code=status, headers=headers)


def _created(repository: str, what: str, digest: str) -> Response:
    headers = {"location": f"/v2/{repository}/{what}/{digest}", "docker-content-digest": digest}
    return Response(status_code=201, headers=headers)


def _page(call: Call, path: str, key: str, names: list[str], fixed: dict[str, str]) -> Response:
    query = call.request.query_params
    asked = query.get("n", str(_PAGE))
    if not asked.isascii() or not asked.isdigit() or len(asked) > 9:
        raise BadRequest(f"not a number of results: {asked[:40]!r}", reason="PaginationNumberInvalid")
    count, after = min(int(asked), _PAGE), query.get("last", "")
    ahead = [name for name in names if name > after]
    shown = ahead[:count]
    response = _json({**fixed, key: shown})
    if len(ahead) > len(shown) and shown:
        response.headers["link"] = f'<{path}?{urlencode({"n": count, "last": shown[-1]})}>; rel="next"'
    return response


def _subject(data: bytes, media_type: str) -> Descriptor | None:
    kind: type[Manifest] | type[Index] = Index if media_type in model.INDEXES else Manifest
    return model.decode(data, kind, "the manifest").subject


def _as_referrer(descriptor: Descriptor, data: bytes) -> Descriptor:
    manifest = model.decode(data, _Artifact, descriptor.digest)
    artifact_type = manifest.artifact_type or (manifest.config.media_type if manifest.config else "")
    return msgspec.structs.replace(descriptor, artifact_type=artifact_type, annotations=manifest.annotations)


class _Artifact(msgspec.Struct, rename="camel"):
    artifact_type: str = ""
    config: Descriptor | None = None
    annotations: dict[str, str] = {}


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
