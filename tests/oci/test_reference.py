"""References as docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.errors import Invalid
from funcs.oci import reference
from funcs.oci.reference import Reference

DIGEST = "sha256:" + "0" * 64

READ = {
    "ubuntu": "docker.io/library/ubuntu",
    "ubuntu:22.04": "docker.io/library/ubuntu:22.04",
    "me/app": "docker.io/me/app",
    "docker.io/app": "docker.io/library/app",
    "index.docker.io/me/app": "docker.io/me/app",
    "localhost/app": "localhost/app",
    "localhost:5000/a/b/c:v1": "localhost:5000/a/b/c:v1",
    "registry.example.org/app": "registry.example.org/app",
    "[::1]:5000/app:v1": "[::1]:5000/app:v1",
    "Registry/app": "Registry/app",
    f"app@{DIGEST}": f"docker.io/library/app@{DIGEST}",
    f"localhost:5000/app:v1@{DIGEST}": f"localhost:5000/app:v1@{DIGEST}",
    "a__b/c-d.e--f": "docker.io/a__b/c-d.e--f",
}

REFUSED = [
    "", "App", "app:", "app:-x", "app:" + "x" * 129, "a:b:c", "app@sha256:12", "app@md5:" + "0" * 32, "../app",
    "a/../b", "a//b", "/app", "app/", "a b", "app\n", "é", "[::1/app", "[zz]:5000/app", "host:port/app", "http://host/app",
    "localhost:5000/" + "a" * 256, "0" * 64, "app?x=1", "app#x", "app\x00", "x" * 2000, "a___b", "localhost:5000/_a",
]  # fmt: skip


@pytest.mark.parametrize(("text", "canonical"), READ.items())
def test_a_reference_has_one_canonical_form(text: str, canonical: str) -> None:
    assert str(reference.parse(text)) == canonical
    assert reference.parse(canonical) == reference.parse(text)


@pytest.mark.parametrize("text", REFUSED)
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        reference.parse(text)


def test_people_see_the_short_form() -> None:
    assert reference.parse("docker.io/library/ubuntu:22.04").familiar == "ubuntu:22.04"
    assert reference.parse("docker.io/me/app").familiar == "me/app"
    assert reference.parse("localhost:5000/library/app").familiar == "localhost:5000/library/app"


def test_a_digest_outweighs_a_tag() -> None:
    assert reference.parse(f"app:v1@{DIGEST}").locator == DIGEST
    assert reference.parse("app").locator == "latest"
    assert reference.parse("[::1]:5000/app").host == "::1"


@given(st.text(max_size=80))
def test_whatever_is_read_is_safe_in_a_path(text: str) -> None:
    try:
        found = reference.parse(text)
    except Invalid:
        return
    assert reference.parse(str(found)) == found
    assert isinstance(found, Reference)
    assert not {"", ".", ".."} & set(found.repository.split("/"))
    assert str(found).isascii()
    assert str(found).isprintable()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "a.localhost"])
def test_this_machine_is_known(host: str) -> None:
    assert reference.is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.org", "10.0.0.1", "127.0.0.1.nip.io", "", "0.0.0.0"])
def test_others_are_not_this_machine(host: str) -> None:
    assert not reference.is_loopback(host)
