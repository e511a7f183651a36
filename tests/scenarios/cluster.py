"""One embedded cluster of a test's own, driven by the commands that a person has.

Law: everything is done by `funcs`, `kubectl` or a socket, as from outside; only where the platform says what it is (its
record, its process ids) is a file read. IO: all of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import yaml

from funcs.platform import laptop, supervisor
from funcs.platform.pids import Pid
from funcs.platform.places import Isolation, Places, Record

FUNCS = (sys.executable, "-m", "funcs")
FUNCTION = Path(__file__).parent / "functions" / "who"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function said; `who` is a mark that each of its processes makes for itself."""

    status: int
    body: bytes

    @property
    def who(self) -> str:
        return str(json.loads(self.body)["who"])


@dataclass
class Cluster:
    """`home` holds the state, the cache of kubectl and the functions' directories; `cache` is the build cache."""

    home: Path
    cache: Path
    isolation: Isolation = "auto"
    name: str = "t"
    extra: Mapping[str, str] = field(default_factory=dict)

    # -- commands -----------------------------------------------------------------------------------------------------

    def funcs(self, *argv: str, code: int = 0, **options: Any) -> Done:
        """Run `funcs`; it must end with `code`."""
        return self.run(*FUNCS, *argv, code=code, **options)

    def kubectl(self, *argv: str, code: int = 0, **options: Any) -> Done:
        return self.run("kubectl", *argv, code=code, **options)

    def run(
        self, *argv: str, code: int = 0, cwd: Path | None = None, input: str | None = None, timeout: float = 60
    ) -> Done:
        done = subprocess.run(
            argv,
            cwd=cwd or self.work,
            env=self.environ,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == code, (
            f"`{' '.join(argv)}` ended with {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A command that goes on; the caller ends it."""
        return subprocess.Popen(
            argv, cwd=self.work, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def up(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.funcs("up", "--any-port", f"--isolation={self.isolation}")

    def remove(self) -> None:
        """Down and away, whatever state a test has left."""
        self.work.mkdir(parents=True, exist_ok=True)
        try:
            if self.places.root.exists():
                self.funcs("down", "--purge", timeout=90)
        finally:
            shutil.rmtree(self.home)

    def deploy(self, name: str, *options: str) -> None:
        """The test's one function under a name; after the first time nothing is built but a manifest."""
        place = self.work / name
        if not place.exists():
            shutil.copytree(FUNCTION, place)
            (place / "func.yaml").write_text(f"specVersion: 0.36.0\nname: {name}\nruntime: python\n")
        self.funcs("deploy", name, "--no-git", *options)

    # -- places -------------------------------------------------------------------------------------------------------

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def environ(self) -> dict[str, str]:
        own = {
            "XDG_STATE_HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.cache),
            "FUNCS_CLUSTER": self.name,
            "KUBECONFIG": str(self.places.kubeconfig),
            "KUBECACHEDIR": str(self.home / "kube-cache"),
            "GIT_AUTHOR_NAME": "funcs", "GIT_AUTHOR_EMAIL": "funcs@localhost",
            "GIT_COMMITTER_NAME": "funcs", "GIT_COMMITTER_EMAIL": "funcs@localhost",
        }  # fmt: skip
        return {**os.environ, **own, **self.extra}

    @property
    def places(self) -> Places:
        return Places(self.home / "funcs" / self.name)

    @cached_property
    def record(self) -> Record:
        return self.places.read_record()

    # -- processes ----------------------------------------------------------------------------------------------------

    def pid(self, part: str) -> Pid:
        """The process that a part, or the supervisor, is now."""
        state = supervisor.read_state(self.places)
        assert state is not None, "the cluster is not up"
        return state.supervisor if part == "supervisor" else state.parts.get(part, Pid(0, ""))

    def lives(self, part: str) -> bool:
        state = supervisor.read_state(self.places)
        return state is not None and (part == "supervisor" or part in state.parts) and self.pid(part).alive

    def kill(self, part: str) -> Pid:
        """`kill -9`, and wait for the end; what it was."""
        pid = self.pid(part)
        assert pid.signal(signal.SIGKILL), f"{part} did not run"
        assert pid.wait(10)
        return pid

    def kill_and_await(self, part: str) -> None:
        """`kill -9`, then wait until another process has taken its place and all are ready."""
        before = self.kill(part)
        eventually(f"{part} is back", lambda: self.status().up and self.pid(part) != before, 30)

    def kill_together(self, *parts: str) -> None:
        """Kill the supervisor and these parts, so that nobody is left to start them again."""
        supervising = self.pid("supervisor")
        supervising.signal(signal.SIGSTOP)
        for part in parts:
            self.kill(part)
        supervising.signal(signal.SIGKILL)
        assert supervising.wait(10)

    def status(self) -> laptop.Status:
        return laptop.status(self.places)

    def logs(self, lines: int = 60) -> str:
        """The ends of all parts' logs."""
        found = []
        for path in sorted(self.places.logs.glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            found.append("\n".join((f"----- {path.name}", *tail)))
        return "\n".join(found)

    # -- sockets ------------------------------------------------------------------------------------------------------

    def call(self, name: str, data: bytes = b"", timeout: float = 30) -> Answer:
        """A request to a function through the gateway, on a connection of its own. Raises OSError, HTTPException."""
        headers = {"Host": f"{name}.default.localhost", "Content-Type": "text/plain", "Connection": "close"}
        return _post(self.record.ports.gateway, "/", data, headers, timeout)

    def send(self, id: str, type: str = "test", timeout: float = 30) -> int:
        """An event to the default Broker; the status. Raises OSError, HTTPException."""
        headers = {
            "Ce-Id": id, "Ce-Source": "/test", "Ce-Type": type, "Ce-Specversion": "1.0",
            "Content-Type": "application/json", "Connection": "close",
        }  # fmt: skip
        return _post(self.record.ports.broker, "/default/default", b"{}", headers, timeout).status

    @cached_property
    def api(self) -> httpx.Client:
        """The Kubernetes API as the person the kubeconfig is for."""
        config = yaml.safe_load(self.places.kubeconfig.read_text())
        authority = b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        return httpx.Client(
            base_url=config["clusters"][0]["cluster"]["server"],
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
            verify=ssl.create_default_context(cadata=authority),
            trust_env=False,
            timeout=30,
        )

    # -- resources ----------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """One object or list, or None where there is none."""
        answer = self.api.get(path)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create(self, path: str, obj: Mapping[str, Any]) -> Any:
        answer = self.api.post(path, json=obj)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def pods(self, name: str) -> list[Any]:
        """The pods of a function."""
        found = self.get(f"/api/v1/namespaces/default/pods?labelSelector=serving.knative.dev/service%3D{name}")
        return list(found["items"])

    def image(self, name: str) -> str:
        """The image, by digest, that a function runs."""
        service = self.get(f"{SERVICES}/{name}")
        return str(service["spec"]["template"]["spec"]["containers"][0]["image"])

    def serve(self, name: str, image: str, annotations: Mapping[str, str] | None = None) -> None:
        """Create a Service of an image, and wait until it is ready."""
        template = {"metadata": {"annotations": dict(annotations or {})}, "spec": {"containers": [{"image": image}]}}
        service = {
            "apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": name}, "spec": {"template": template},
        }  # fmt: skip
        self.create(SERVICES, service)
        eventually(f"{name} is ready", lambda: ready(self.get(f"{SERVICES}/{name}")), 30)

    def subscribe(self, name: str, uri: str, type: str = "test") -> None:
        """A Trigger from the default Broker to a URL, ready when this returns; retries are short and many."""
        spec = {
            "broker": "default",
            "filter": {"attributes": {"type": type}},
            "subscriber": {"uri": uri},
            "delivery": {"retry": 100, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"},
        }
        trigger = {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": name}, "spec": spec}
        self.create(TRIGGERS, trigger)
        eventually(f"Trigger {name} is ready", lambda: ready(self.get(f"{TRIGGERS}/{name}")), 30)


SERVICES = "/apis/serving.knative.dev/v1/namespaces/default/services"
TRIGGERS = "/apis/eventing.knative.dev/v1/namespaces/default/triggers"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def ready(obj: Any) -> bool:
    """The object's Ready is True, of its present generation."""
    status = (obj or {}).get("status") or {}
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    generation: int = obj["metadata"]["generation"]
    return conditions.get("Ready") == "True" and status.get("observedGeneration") == generation


def eventually(what: str, look: Callable[[], object], seconds: float = 20) -> None:
    """Look again until it is so; fails with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def _post(port: int, path: str, data: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body=data, headers=dict(headers))
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()
