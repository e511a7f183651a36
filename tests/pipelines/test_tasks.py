"""The built-in Tasks: admitted as they are, run in order, and deaf to what hostile values say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from funcs.api import catalog, core, meta, pipeline
from funcs.api.meta import Object
from pipelines.steps import entrypoint
from pipelines.tasks.catalog import CatalogSettings, builtin
from tests.pipelines.playing import Ran, Theatre, result_of, succeeded

SETTINGS = CatalogSettings(tools_image="localhost:5000/tools", service_account="pusher")


def template_run() -> Object:
    """The PipelineRun of the TriggerTemplate, its variables filled as a push would."""
    template = next(obj for obj in builtin(SETTINGS) if obj["kind"] == "TriggerTemplate")
    run: Object = template["spec"]["resourcetemplates"][0]
    values = {"url": "http://h/r.git", "revision": "f" * 40, "repository": "hello"}

    def fill(found: object) -> object:
        if isinstance(found, dict):
            return {key: fill(value) for key, value in found.items()}
        if isinstance(found, list):
            return [fill(value) for value in found]
        for name, value in values.items():
            found = found.replace(f"$(tt.params.{name})", value) if isinstance(found, str) else found
        return found

    filled = fill(run)
    assert isinstance(filled, dict)
    return filled


def test_all_of_it_is_of_kinds_that_are_served_and_nothing_is_left_to_fill() -> None:
    objects = builtin(SETTINGS)
    assert [f"{obj['kind']}/{meta.name(obj)}" for obj in objects] == [
        "Task/git-clone",
        "Task/build",
        "Task/push",
        "Task/deploy",
        "Pipeline/build-and-deploy",
        "TriggerBinding/git-push",
        "TriggerTemplate/build-and-deploy",
        "EventListener/git-push",
    ]
    assert all(catalog.kind_of(obj) for obj in objects)
    assert "<" not in str(objects)


def test_a_webhook_secret_asks_for_a_signature() -> None:
    listener = builtin(CatalogSettings(tools_image="t", webhook_secret="hook"))[-1]
    (interceptor,) = listener["spec"]["triggers"][0]["interceptors"]
    assert interceptor["ref"]["name"] == "github"
    assert interceptor["params"][0]["value"] == {"secretName": "hook", "secretKey": "token"}


async def test_a_push_becomes_four_task_runs_that_hand_on_commit_and_digest() -> None:
    def script(pod: Object, container: str, step: entrypoint.Step) -> Ran:
        values = {"commit": "f" * 40, "IMAGE_DIGEST": "sha256:abc", "IMAGE_URL": "localhost:5000/default/hello"}
        return Ran(results={name: values.get(name, name) for name in step.results})

    theatre = Theatre.open(script)
    await theatre.apply(*(obj for obj in builtin(SETTINGS) if obj["apiVersion"].startswith("tekton.dev")))
    run = await theatre.run(template_run())
    assert succeeded(run) == ("True", "Succeeded"), meta.status(run)
    assert result_of(run) == {"commit": "f" * 40, "image": "localhost:5000/default/hello@sha256:abc"}
    assert [found["pipelineTaskName"] for found in meta.status(run)["childReferences"]] == [
        "git-clone",
        "build",
        "push",
        "deploy",
    ]
    assert len(theatre.client.objects(core.PERSISTENT_VOLUME_CLAIM)) == 1
    deploy = await theatre.pod(f"{meta.name(run)}-deploy-pod")
    told = entrypoint.parse(meta.spec(deploy)["containers"][0]["args"])
    assert (told.command, *told.args) == (
        "python",
        "-m",
        "funcs.deploy.step",
        "--source=/workspace/source/source/.",
        "--image=localhost:5000/default/hello@sha256:abc",
        "--account=/var/run/secrets/kubernetes.io/serviceaccount",
    )
    assert meta.spec(deploy)["serviceAccountName"] == "pusher"


def clone(output: Path, **params: str) -> subprocess.CompletedProcess[str]:
    """Run the git-clone step's script as the node would, file transport allowed for the test's own repository."""
    task = next(obj for obj in builtin(SETTINGS) if meta.name(obj) == "git-clone")
    script = meta.spec(task)["steps"][0]["script"]
    values = {"url": "", "revision": "", "depth": "1", "subdirectory": "source", **params}
    results = {"RESULT_COMMIT": str(output / "commit"), "RESULT_URL": str(output / "url")}
    env = {name.upper(): value for name, value in values.items()} | results | {"OUTPUT": str(output)}
    env |= {"PATH": os.environ["PATH"], "HOME": str(output), "GIT_ALLOW_PROTOCOL": "file", "GIT_TERMINAL_PROMPT": "0"}
    return subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    path = tmp_path / "repository"
    path.mkdir()
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    for number in (1, 2):
        (path / "file").write_text(str(number))
        subprocess.run(["git", "-C", str(path), "add", "file"], check=True)
        subprocess.run(["git", "-C", str(path), *identity, "commit", "-qm", str(number)], check=True)
    return path


def commit(repository: Path, revision: str) -> str:
    found = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", revision], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


@pytest.mark.parametrize("revision", ["", "main", "commit", "older"])
def test_git_clone_fetches_what_it_is_told(repository: Path, tmp_path: Path, revision: str) -> None:
    wanted = commit(repository, "HEAD~1" if revision == "older" else "HEAD")
    output = tmp_path / "out"
    output.mkdir()
    given = wanted if revision in ("commit", "older") else revision
    done = clone(output, url=f"file://{repository}", revision=given)
    assert done.returncode == 0, done.stderr
    assert (output / "commit").read_text() == wanted
    assert (output / "url").read_text() == f"file://{repository}"
    assert (output / "source" / "file").read_text() == ("1" if revision == "older" else "2")


def test_git_clone_may_fill_the_workspace_itself_and_leaves_nothing_old(repository: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / ".old").mkdir(parents=True)
    done = clone(output, url=f"file://{repository}", subdirectory=".")
    assert done.returncode == 0, done.stderr
    assert (output / "file").read_text() == "2"
    assert not (output / ".old").exists()


@pytest.mark.parametrize(
    "hostile",
    [
        {"revision": "--upload-pack=touch pwned"},
        {"revision": "$(touch pwned)"},
        {"revision": "main; touch pwned"},
        {"url": "ext::sh -c touch% pwned"},
        {"url": "--upload-pack=touch pwned"},
        {"depth": "1; touch pwned"},
        {"subdirectory": "../../pwned"},
        {"subdirectory": "/pwned"},
    ],
)
def test_git_clone_is_deaf_to_hostile_values(repository: Path, tmp_path: Path, hostile: dict[str, str]) -> None:
    output = tmp_path / "deep" / "out"
    output.mkdir(parents=True)
    done = clone(output, **{"url": f"file://{repository}", **hostile})
    assert done.returncode != 0
    assert not list(tmp_path.rglob("pwned*"))
    assert not (output / "commit").exists()


def test_the_kinds_of_the_catalog_are_tektons() -> None:
    assert {catalog.kind_of(obj) for obj in builtin(SETTINGS)[:5]} == {pipeline.TASK, pipeline.PIPELINE}
