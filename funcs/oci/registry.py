"""A client of image registries: the OCI distribution protocol over httpx.

Law: every byte that arrives is checked against its digest before anybody relies on it; plain HTTP is spoken to this
machine only; a redirect or an upload address of another origin never sees our credentials. Requests that may be
repeated are, with the delays of the settings. IO: HTTP; the delays and their jitter are arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx
import msgspec

from funcs.errors import BadRequest, Forbidden, FuncsError, Invalid, NotFound, Unauthorized, Unavailable

from . import model
from .authentication import Authenticator
from .credentials import Credentials
from .model import Descriptor
from .reference import DOCKER_HUB, Reference, is_digest, is_loopback

T = TypeVar("T")
Body = Callable[[], AsyncIterator[bytes]]
_ACCEPT = ", ".join((model.OCI_MANIFEST, model.OCI_INDEX, model.DOCKER_MANIFEST, model.DOCKER_INDEX))
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_LONGEST_ERROR = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """`insecure`: do not verify TLS. Seconds; `chunk` is bytes, 0 sends each blob whole."""

    attempts: int = 4
    first_delay: float = 0.25
    longest_delay: float = 20.0
    timeout: float = 60.0
    chunk: int = 0
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Delays:
    """How waiting between attempts is done: `sleep` seconds, scaled by `jitter()` in 0…1."""

    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]


@asynccontextmanager
async def connect(
    credentials: Credentials, delays: Delays, settings: RegistrySettings | None = None
) -> AsyncGenerator[Registry]:
    """A client with a connection pool of its own. Proxies of the environment are used, but never for this machine."""
    settings = settings or RegistrySettings()
    direct = {f"all://{host}": None for host in ("localhost", "*.localhost", "127.0.0.1", "[::1]")}
    async with httpx.AsyncClient(
        verify=not settings.insecure, timeout=settings.timeout, follow_redirects=False, mounts=direct
    ) as client:
        yield Registry(client, credentials, delays, settings)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: httpx.URL
    target: Reference
    scope: str
    headers: Mapping[str, str]
    body: Body | bytes | None = None


class Registry:
    """All registries: which one is in each Reference. Failures are FuncsErrors that name registry and repository."""

    def __init__(
        self, client: httpx.AsyncClient, credentials: Credentials, delays: Delays, settings: RegistrySettings
    ) -> None:
        self._client = client
        self._authenticator = Authenticator(client, credentials)
        self._delays = delays
        self._settings = settings

    async def resolve(self, reference: Reference) -> Descriptor:
        """What the reference names now. Raises NotFound."""
        response = await self._ask("HEAD", reference, f"manifests/{reference.locator}", headers={"accept": _ACCEPT})
        digest = reference.digest or response.headers.get("docker-content-digest", "")
        length, media_type = response.headers.get("content-length", ""), response.headers.get("content-type", "")
        if response.status_code == 200 and is_digest(digest) and length.isdigit() and media_type:
            return Descriptor(media_type=media_type.partition(";")[0], digest=digest, size=int(length))
        if response.status_code == 200:
            return (await self.manifest(reference))[0]
        raise _failure(response, reference, f"{reference} cannot be resolved")

    async def manifest(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """A manifest or index. Raises NotFound, Invalid when it is not what its digest says."""
        request = self._request("GET", reference, f"manifests/{reference.locator}", headers={"accept": _ACCEPT})
        async with self._stream(request) as response:
            if response.status_code != 200:
                raise _failure(response, reference, f"{reference} cannot be read", await _start_of(response))
            data = await _bounded(response, model.LARGEST_MANIFEST, str(reference))
        if reference.digest and model.digest_of(data) != reference.digest:
            raise Invalid(f"{reference} is sent with other content: {model.digest_of(data)}", reason="DigestInvalid")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in model.MANIFESTS | model.INDEXES:
            media_type = model.media_type_of(data, str(reference))
        return model.described(data, media_type), data

    async def has_blob(self, target: Reference, digest: str, *, write: bool = False) -> bool:
        """`write` asks with the rights of a push, so that one token serves it all."""
        request = self._request("HEAD", target, f"blobs/{digest}", write=write)
        response = await self._send(request)
        if response.status_code in (200, 404):
            return response.status_code == 200
        raise _failure(response, target, f"{target.name} does not say whether it has {digest}")

    @asynccontextmanager
    async def blob(self, target: Reference, descriptor: Descriptor) -> AsyncGenerator[AsyncIterator[bytes]]:
        """A blob's bytes. The iterator raises Invalid at its end if they are not what the descriptor says."""
        async with self._stream(self._request("GET", target, f"blobs/{descriptor.digest}")) as response:
            if response.status_code != 200:
                raise _failure(response, target, f"{target.name} has no {descriptor.digest}", await _start_of(response))
            yield _verified(response.aiter_bytes(), descriptor)

    async def push_blob(self, target: Reference, descriptor: Descriptor, body: Body, mount_from: str = "") -> bool:
        """Make the blob present, by mounting it from a repository if it is there. False: nothing had to be sent."""
        return await self._persistently(lambda: self._push_blob(target, descriptor, body, mount_from))

    async def put_manifest(self, target: Reference, data: bytes, media_type: str) -> Descriptor:
        """Name what was pushed. Raises Invalid if the registry stored something else."""
        descriptor = model.described(data, media_type)
        locator = target.tag or descriptor.digest
        request = self._request(
            "PUT", target, f"manifests/{locator}", write=True, headers={"content-type": media_type}, body=data
        )
        response = await self._send(request)
        if response.status_code not in (200, 201, 202):
            raise _failure(response, target, f"{target.name} does not take the manifest {locator}")
        said = response.headers.get("docker-content-digest", descriptor.digest)
        if said != descriptor.digest:
            raise Invalid(f"{target.name} stored {said[:120]} for {descriptor.digest}", reason="DigestInvalid")
        return descriptor

    async def _push_blob(self, target: Reference, descriptor: Descriptor, body: Body, mount_from: str) -> bool:
        query = {"mount": descriptor.digest, "from": mount_from} if mount_from else {}
        response = await self._ask("POST", target, "blobs/uploads/", write=True, query=query)
        if response.status_code == 201 and mount_from:
            return False
        if response.status_code != 202:
            raise _failure(response, target, f"{target.name} accepts no upload")
        place = self._location(response, target)
        if self._settings.chunk and descriptor.size > self._settings.chunk:
            place = await self._send_chunks(target, place, body)
            rest: Body | bytes = b""
        else:
            rest = body
        size = descriptor.size if callable(rest) else 0
        headers = {"content-length": str(size), "content-type": "application/octet-stream"}
        done = await self._upload("PUT", target, place.copy_merge_params({"digest": descriptor.digest}), headers, rest)
        if done.status_code != 201:
            raise _failure(done, target, f"{target.name} does not take {descriptor.digest}")
        return True

    async def _send_chunks(self, target: Reference, place: httpx.URL, body: Body) -> httpx.URL:
        start = 0
        async for chunk in _regrouped(body(), self._settings.chunk):
            headers = {
                "content-range": f"{start}-{start + len(chunk) - 1}",
                "content-type": "application/octet-stream",
            }
            response = await self._upload("PATCH", target, place, headers, chunk)
            if response.status_code not in (202, 204):
                raise _failure(response, target, f"{target.name} refuses a part of an upload")
            place = self._location(response, target)
            start += len(chunk)
        return place

    async def _upload(
        self, method: str, target: Reference, place: httpx.URL, headers: Mapping[str, str], body: Body | bytes
    ) -> httpx.Response:
        """To the address that the registry gave: once, since an upload's state does not survive a failure."""
        scope = _scope(target, write=True)
        base = _base(target)
        ours = (place.scheme, place.host, place.port) == (base.scheme, base.host, base.port)
        response = await self._once(_Request(method, place, target, scope if ours else "", headers, body))
        await _start_of(response)
        await response.aclose()
        return response

    def _location(self, response: httpx.Response, target: Reference) -> httpx.URL:
        place = response.url.join(response.headers.get("location", ""))
        return _checked(place, target)

    async def _ask(
        self,
        method: str,
        target: Reference,
        path: str,
        *,
        write: bool = False,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        request = self._request(method, target, path, write=write, headers=headers or {})
        if query:
            request = _Request(
                method, request.url.copy_merge_params(dict(query)), target, request.scope, request.headers
            )
        return await self._send(request)

    def _request(
        self,
        method: str,
        target: Reference,
        path: str,
        *,
        write: bool = False,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> _Request:
        url = _base(target).join(f"/v2/{target.repository}/{path}")
        return _Request(method, url, target, _scope(target, write=write), headers or {}, body)

    async def _send(self, request: _Request) -> httpx.Response:
        async with self._stream(request) as response:
            await _start_of(response)
            return response

    @asynccontextmanager
    async def _stream(self, request: _Request) -> AsyncGenerator[httpx.Response]:
        """The answer, its body unread; tried again while that may help; redirects followed."""
        response = await self._persistently(lambda: self._following(request))
        try:
            yield response
        finally:
            await response.aclose()

    async def _persistently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Repeat while it is Unavailable. Raises what the last attempt raises."""
        delay = self._settings.first_delay
        for _ in range(self._settings.attempts - 1):
            try:
                return await action()
            except Unavailable as error:
                asked = error.after if isinstance(error, _Busy) else 0.0
            wait = max(asked, delay * (0.5 + self._delays.jitter()))
            await self._delays.sleep(min(wait, self._settings.longest_delay))
            delay *= 2
        return await action()

    async def _following(self, request: _Request) -> httpx.Response:
        response = await self._once(request)
        for _ in range(_MOST_REDIRECTS):
            if response.status_code in _TRY_AGAIN:
                await response.aclose()
                raise _Busy(response, request.target)
            if response.status_code not in _REDIRECTS or request.method not in ("GET", "HEAD"):
                return response
            await response.aclose()
            place = self._location(response, request.target)
            request = _Request(request.method, place, request.target, "", request.headers)
            response = await self._once(request)
        raise Invalid(f"{request.target.registry} redirects more than {_MOST_REDIRECTS} times")

    async def _once(self, request: _Request) -> httpx.Response:
        """One request, and another if a 401 says how. A request of scope "" goes unnamed."""
        target, scope = request.target, request.scope
        header = self._authenticator.known(target.registry, scope) if scope else ""
        response = await self._exchange(request, header)
        if response.status_code != 401 or not scope:
            return response
        await response.aclose()
        try:
            header = await self._authenticator.answer(target.registry, target.repository, scope, response)
        except httpx.HTTPError as error:
            raise Unavailable(f"the token server of {target.registry} cannot be reached: {error!r}") from error
        return await self._exchange(request, header)

    async def _exchange(self, request: _Request, authorization: str) -> httpx.Response:
        headers = dict(request.headers) | ({"authorization": authorization} if authorization else {})
        content = request.body() if callable(request.body) else request.body
        built = self._client.build_request(request.method, request.url, headers=headers, content=content)
        try:
            return await self._client.send(built, stream=True)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the registry {request.target.registry} cannot be reached: {error!r}",
                reason="RegistryUnreachable",
                hint="Is its name right, and is it running?",
            ) from error


def _base(target: Reference) -> httpx.URL:
    host = "registry-1.docker.io" if target.registry == DOCKER_HUB else target.registry
    return httpx.URL(f"{'http' if is_loopback(target.host) else 'https'}://{host}")


def _scope(target: Reference, *, write: bool) -> str:
    return f"repository:{target.repository}:{'pull,push' if write else 'pull'}"


def _checked(place: httpx.URL, target: Reference) -> httpx.URL:
    if place.scheme == "https" or (place.scheme == "http" and is_loopback(place.host) and is_loopback(target.host)):
        return place
    raise Invalid(f"{target.registry} sends us to {place.scheme}://{place.host}, which is refused", reason="Redirect")


class _Busy(Unavailable):
    """An answer that asks for another attempt, `after` seconds."""

    def __init__(self, response: httpx.Response, target: Reference) -> None:
        super().__init__(f"{target.name}: {target.registry} answers {response.status_code}")
        self.after = _retry_after(response)


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() and len(text) < 6 else 0.0


async def _verified(chunks: AsyncIterator[bytes], descriptor: Descriptor) -> AsyncIterator[bytes]:
    size, seen = 0, hashlib.sha256()
    try:
        async for chunk in chunks:
            size += len(chunk)
            seen.update(chunk)
            if size > descriptor.size:
                break
            yield chunk
    except httpx.HTTPError as error:
        raise Unavailable(f"{descriptor.digest} broke off after {size} bytes: {error!r}") from error
    if size != descriptor.size or f"sha256:{seen.hexdigest()}" != descriptor.digest:
        raise Invalid(f"{descriptor.digest} is sent with other content", reason="DigestInvalid")


async def _bounded(response: httpx.Response, limit: int, what: str) -> bytes:
    data = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > limit:
                raise Invalid(f"{what} is longer than {limit} bytes", reason="SizeInvalid")
    except httpx.HTTPError as error:
        raise Unavailable(f"{what} broke off: {error!r}") from error
    return bytes(data)


async def _start_of(response: httpx.Response) -> bytes:
    """The beginning of an error's body, kept for the message."""
    if response.is_closed:
        return response.content
    data = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) >= _LONGEST_ERROR:
                break
    except httpx.HTTPError as error:
        raise Unavailable(f"an answer broke off: {error!r}") from error
    response.extensions["start"] = bytes(data)
    return bytes(data)


async def _regrouped(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


class _Error(msgspec.Struct):
    code: str = ""
    message: str | None = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


def _failure(response: httpx.Response, target: Reference, what: str, body: bytes = b"") -> FuncsError:
    """The error that a refusing answer is, with what the registry says."""
    kinds: dict[int, type[FuncsError]] = {401: Unauthorized, 403: Forbidden, 404: NotFound}
    status = response.status_code
    kind = Unavailable if status in _TRY_AGAIN else kinds.get(status, BadRequest)
    try:
        said = msgspec.json.decode(body or response.extensions.get("start", b""), type=_Errors).errors
    except (msgspec.MsgspecError, ValueError):
        said = []
    words = "; ".join(f"{error.code} {error.message or ''}".strip() for error in said[:3])
    return kind(f"{what}: {target.registry} answers {status}{' (' + words[:500] + ')' if words else ''}")
