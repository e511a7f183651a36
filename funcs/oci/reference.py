"""Image references and digests, parsed exactly as docker does.

Law: what parses is safe to put in a URL path and in a file path: every part has matched its grammar. The grammar and
the defaults (`docker.io`, `library/`, `latest`) are those of github.com/distribution/reference. No IO.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from funcs.errors import Invalid

DOCKER_HUB = "docker.io"
_LONGEST_NAME = 255
_LONGEST_TEXT = 1024

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}", re.ASCII)
_HEX = re.compile(r"[a-f0-9]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A whole reference: `registry/repository[:tag][@digest]`. `str()` is the canonical form."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    @property
    def locator(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    @property
    def familiar(self) -> str:
        """As people write it: without `docker.io/` and `library/`."""
        text = str(self)
        if self.registry == DOCKER_HUB:
            text = text.removeprefix(f"{DOCKER_HUB}/")
            if self.repository.count("/") == 1:
                text = text.removeprefix("library/")
        return text

    @property
    def host(self) -> str:
        """The registry without its port, without an IPv6 address's brackets."""
        if self.registry.startswith("["):
            return self.registry[1:].partition("]")[0]
        return self.registry.partition(":")[0]

    def at(self, digest: str) -> Reference:
        """The same repository, pinned. Raises Invalid."""
        return replace(self, digest=checked_digest(digest))

    def tagged(self, tag: str) -> Reference:
        """The same repository by tag alone. Raises Invalid."""
        return replace(self, tag=checked_tag(tag), digest="")


def parse(text: str) -> Reference:
    """Raises Invalid, naming the part that is wrong."""
    if not text or len(text) > _LONGEST_TEXT:
        raise _refused(text, "it is empty or longer than 1024 characters")
    if _HEX.fullmatch(text):
        raise _refused(text, "64 hexadecimal digits are an identifier, not a name")
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _refused(text, "the part after '@' is not sha256: and 64 lower-case hexadecimal digits")
    registry, rest = _split_registry(rest)
    repository, colon, tag = rest.partition(":")
    if colon and not is_tag(tag):
        raise _refused(text, "the tag may hold 128 letters, digits, '_', '.', '-', and starts with none of '.', '-'")
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not is_registry(registry):
        raise _refused(text, f"{registry!r} is not a registry's host name")
    if not is_repository(repository):
        raise _refused(text, _repository_problem(repository))
    return Reference(registry, repository, tag, digest)


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and _REPOSITORY.fullmatch(text) is not None


def is_registry(text: str) -> bool:
    if _REGISTRY.fullmatch(text) is None:
        return False
    if not text.startswith("["):
        return True
    try:
        ipaddress.IPv6Address(text[1:].partition("]")[0])
    except ValueError:
        return False
    return True


def checked_digest(text: str) -> str:
    """The digest itself. Raises Invalid."""
    if not is_digest(text):
        raise Invalid(f"not a digest: {text[:120]!r}", reason="DigestInvalid", hint="Use sha256: and 64 hex digits.")
    return text


def checked_tag(text: str) -> str:
    """The tag itself. Raises Invalid."""
    if not is_tag(text):
        raise Invalid(f"not a tag: {text[:160]!r}", reason="TagInvalid")
    return text


def checked_repository(text: str) -> str:
    """The repository itself. Raises Invalid."""
    if not is_repository(text):
        raise Invalid(f"not a repository: {text[:300]!r} ({_repository_problem(text)})", reason="NameInvalid")
    return text


def is_loopback(host: str) -> bool:
    """Whether a host name or address (no port, no brackets) is this machine by definition."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_registry(text: str) -> tuple[str, str]:
    """The first component is a registry if it has a dot, a colon or upper case, or is `localhost`."""
    first, slash, rest = text.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return DOCKER_HUB, text
    if first in {"index.docker.io", "registry-1.docker.io"}:
        first = DOCKER_HUB
    return first, rest


def _repository_problem(repository: str) -> str:
    if repository != repository.lower():
        return "a repository's name is in lower case"
    if len(repository) > _LONGEST_NAME:
        return "a repository's name has at most 255 characters"
    return f"{repository!r} is not a repository's name"


def _refused(text: str, why: str) -> Invalid:
    return Invalid(
        f"not an image reference: {text[:200]!r}: {why}",
        reason="ReferenceInvalid",
        hint="Write it as registry/name:tag, for example localhost:5000/thumbnail:latest.",
    )
