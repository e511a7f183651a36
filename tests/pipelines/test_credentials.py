"""Credentials: the files that a service account's secrets become."""

from __future__ import annotations

import json

from funcs.api.meta import Object
from pipelines.steps import credentials
from pipelines.steps.entrypoint import Credential


def secret(name: str, type: str, **annotations: str) -> Object:
    marked = {f"tekton.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"name": name, "annotations": marked}, "type": f"kubernetes.io/{type}"}


def test_only_known_types_with_a_host_count() -> None:
    secrets = [
        secret("basic", "basic-auth", git_0="https://a", docker_0="https://r"),
        secret("hostless", "basic-auth"),
        secret("docker", "dockerconfigjson"),
        secret("opaque", "opaque", git_0="https://a"),
    ]
    assert credentials.found(secrets) == [
        Credential("basic-git", "basic", "https://a"),
        Credential("basic-docker", "basic", "https://r"),
        Credential("docker-config", "docker"),
    ]


def test_git_asks_by_host_first_and_by_path_where_a_secret_has_one() -> None:
    listed = [Credential("basic-git", "p", "https://h/org/repo"), Credential("basic-git", "h", "https://h")]
    data = {"p": {"username": b"u p", "password": b"x@y"}, "h": {"username": b"u", "password": b"p\n"}}
    files = credentials.files(listed, data)
    assert files[".git-credentials"] == b"https://u:p@h\nhttps://u%20p:x%40y@h/org/repo\n"
    assert files[".gitconfig"].decode() == (
        "[credential]\n\thelper = store\n"
        '[credential "https://h"]\n\tusername = u\n'
        '[credential "https://h/org/repo"]\n\tusername = u p\n\tuseHttpPath = true\n'
    )


def test_a_hostile_name_cannot_begin_a_line_of_gits_configuration() -> None:
    data = {"s": {"username": b'u\n[core]\n\tsshCommand = "touch pwned"', "password": b""}}
    config = credentials.files([Credential("basic-git", "s", "https://h")], data)[".gitconfig"].decode()
    assert not [line for line in config.splitlines() if line.startswith("[core]")]


def test_docker_files_are_merged() -> None:
    listed = [
        Credential("docker-config", "a"),
        Credential("docker-cfg", "b"),
        Credential("basic-docker", "c", "https://docker.io"),
        Credential("docker-config", "absent"),
    ]
    data = {
        "a": {".dockerconfigjson": json.dumps({"auths": {"r1": {"auth": "1"}}}).encode()},
        "b": {".dockercfg": json.dumps({"r2": {"auth": "2"}}).encode()},
        "c": {"username": b"u", "password": b"p"},
    }
    (content,) = credentials.files(listed, data).values()
    assert json.loads(content)["auths"] == {
        "r1": {"auth": "1"},
        "r2": {"auth": "2"},
        "https://index.docker.io/v1/": {"auth": "dTpw"},
    }


def test_no_credentials_no_files() -> None:
    assert credentials.files([], {}) == {}
