"""Credentials, found as docker finds them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from funcs.errors import Invalid, Unauthorized
from funcs.oci.authentication import parse_challenge
from funcs.oci.credentials import Credential, Credentials, default_files


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def config(tmp_path: Path, content: object) -> Credentials:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return Credentials([tmp_path / "absent.json", path])


def test_docker_hub_is_known_by_its_old_name(tmp_path: Path) -> None:
    found = config(tmp_path, {"auths": {"https://index.docker.io/v1/": auth("me", "a:b")}})
    assert found.find("docker.io") == Credential("me", "a:b")


@pytest.mark.parametrize("key", ["localhost:5000", "http://localhost:5000", "https://localhost:5000/v2/"])
def test_a_registry_is_known_by_host_or_address(tmp_path: Path, key: str) -> None:
    assert config(tmp_path, {"auths": {key: auth("me", "x")}}).find("localhost:5000") == Credential("me", "x")


def test_a_repository_outweighs_its_registry(tmp_path: Path) -> None:
    found = config(tmp_path, {"auths": {"r.org": auth("all", "x"), "r.org/team": auth("team", "y")}})
    assert found.find("r.org", "team/app") == Credential("team", "y")
    assert found.find("r.org", "other/app") == Credential("all", "x")


def test_no_credentials_is_an_answer(tmp_path: Path) -> None:
    assert config(tmp_path, {}).find("r.org") is None


def test_an_identity_token_is_kept_apart(tmp_path: Path) -> None:
    found = config(tmp_path, {"auths": {"r.org": {"identitytoken": "t", **auth("00000000", "x")}}})
    assert found.find("r.org") == Credential(identity_token="t")


def test_a_helper_is_asked_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-tests"
    helper.write_text('#!/bin/sh\nread key\n[ "$1 $key" = "get r.org" ] && echo \'{"Username":"u","Secret":"s"}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert config(tmp_path, {"credHelpers": {"r.org": "tests"}}).find("r.org") == Credential("u", "s")
    assert config(tmp_path, {"credsStore": "tests"}).find("r.org") == Credential("u", "s")


@pytest.mark.parametrize("name", ["../../bin/sh", "no-such-helper", "a b"])
def test_a_helper_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unauthorized):
        config(tmp_path, {"credHelpers": {"r.org": name}}).find("r.org")


@pytest.mark.parametrize("content", [[], {"auths": {"r.org": {"auth": "%%%"}}}, {"auths": 3}])
def test_a_broken_file_is_named(tmp_path: Path, content: object) -> None:
    with pytest.raises(Invalid, match=r"config\.json"):
        config(tmp_path, content).find("r.org")


def test_secrets_are_in_no_representation() -> None:
    assert "hidden" not in repr(Credential("me", "hidden", "hidden", "hidden"))


def test_files_are_looked_for_where_docker_and_podman_do() -> None:
    found = default_files({"XDG_RUNTIME_DIR": "/run/user/1", "DOCKER_CONFIG": "/d"}, Path("/home/me"))
    assert found == [Path("/run/user/1/containers/auth.json"), Path("/d/config.json")]
    assert default_files({}, Path("/home/me")) == [Path("/home/me/.docker/config.json")]


def test_a_challenge_is_read() -> None:
    found = parse_challenge('Bearer realm="https://a.org/token",service="a, b",scope="repository:x:pull"')
    assert found.scheme == "bearer"
    assert found.parameters == {"realm": "https://a.org/token", "service": "a, b", "scope": "repository:x:pull"}
    assert parse_challenge("").scheme == ""
