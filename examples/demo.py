"""`make demo`: from an empty machine to a function that scales from zero, every step done by the commands a user has.

Law: a step that did not really happen ends the demo with a non-zero code; nothing is taken on trust, every answer is
looked at. IO: runs `funcs`, `git`, `curl` and `kubectl` in a directory and a cluster of its own, which it removes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
FUNCS = [sys.executable, "-m", "funcs"]
# Windows short enough to watch: idle pods leave after 6 s instead of 60 s + 30 s.
SCALE = "autoscaling.knative.dev/window=6s"


class Failed(Exception):
    """A step did not happen."""


@dataclass
class Demo:
    """One run: a directory for the functions, a cluster of its own, and what was measured."""

    work: Path
    environ: dict[str, str] = field(default_factory=dict)
    cluster: dict[str, str] = field(default_factory=dict)
    step: int = 0

    # -- running commands ---------------------------------------------------------------------------------------

    def run(self, *argv: str, cwd: Path | None = None, input: bytes | None = None, timeout: float = 120) -> str:
        """Run a command, show it, and return its standard output. Raises Failed with what it said."""
        shown = " ".join(argv).replace(" ".join(FUNCS), "funcs", 1)
        print(f"    $ {shown if len(shown) < 150 else shown[:147] + '…'}", flush=True)
        done = subprocess.run(
            argv, cwd=cwd or self.work, env=self.environ, input=input, capture_output=True, timeout=timeout, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise Failed(f"`{shown}` ended with {done.returncode}:\n{said}")
        self.said = done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="surrogateescape")

    def funcs(self, *argv: str, **options: object) -> str:
        return self.run(*FUNCS, *argv, **options)  # type: ignore[arg-type]

    def kubectl(self, *argv: str, **options: object) -> str:
        return self.run("kubectl", f"--kubeconfig={self.cluster['kubeconfig']}", *argv, **options)  # type: ignore[arg-type]

    @contextmanager
    def narrate(self, title: str) -> Iterator[None]:
        self.step += 1
        print(f"\n[{self.step}] {title}", flush=True)
        started = time.monotonic()
        yield
        print(f"    done in {time.monotonic() - started:.2f} s", flush=True)

    # -- the steps ------------------------------------------------------------------------------------------------

    def up(self) -> None:
        with self.narrate("funcs up: the embedded cluster"):
            started = time.monotonic()
            self.funcs("up", "--any-port")
            took = time.monotonic() - started
            self.cluster = json.loads(self.funcs("status", "-o", "json"))
            say(f"ready in {took:.2f} s; pods are run by: {self.cluster['runtime']}")

    def create(self) -> None:
        with self.narrate("funcs create thumbnail, with a compiled dependency (Pillow)"):
            self.make("thumbnail", "http")

    def make(self, name: str, template: str) -> None:
        self.funcs("create", name, "--template", template)
        shutil.copytree(EXAMPLES / name, self.work / name, dirs_exist_ok=True)

    def deploy(self) -> None:
        with self.narrate("funcs deploy: source → image → Revision → URL"):
            url = self.funcs("deploy", "thumbnail", "--annotation", SCALE).strip().splitlines()[-1]
            say(f"the function is at {url}")
            self.url = url

    def invoke(self) -> None:
        with self.narrate("funcs invoke, and plain curl through the gateway"):
            picture = self.work / "picture.jpg"
            picture.write_bytes(jpeg(1600, 1200))
            made = self.work / "by-funcs.jpg"
            self.funcs("invoke", "thumbnail", f"@{picture}", "--content-type", "image/jpeg", "--output", str(made))
            expect_picture(made.read_bytes(), (128, 96))
            self.curl_thumbnail(128, 96)

    def curl_thumbnail(self, width: int, height: int) -> float:
        """One request by curl; its seconds from connect to the last byte."""
        answer = self.work / "by-curl.jpg"
        printed = self.run(
            "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60",
            "--header", f"Host: {self.host('thumbnail')}", "--header", "Content-Type: image/jpeg",
            "--data-binary", f"@{self.work / 'picture.jpg'}", "--output", str(answer), "--write-out", "%{time_total}",
            self.cluster["gateway"],
        )  # fmt: skip
        expect_picture(answer.read_bytes(), (width, height))
        return float(printed)

    def events(self) -> None:
        with self.narrate("an event to the Broker: → measure → its reply → ledger"):
            self.make("measure", "cloudevents")
            self.make("ledger", "cloudevents")
            self.funcs("subscribe", "measure", "--filter", "type=image.uploaded")
            self.funcs("subscribe", "ledger", "--filter", "type=image.measured")
            self.funcs("deploy", "measure", "--annotation", SCALE)
            self.funcs("deploy", "ledger", "--annotation", SCALE)
            upload = {"name": "holiday.jpg", "jpeg": b64encode(jpeg(640, 480)).decode()}
            status = self.run(
                "curl", "--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}",
                "--header", "Ce-Id: demo-1", "--header", "Ce-Source: /demo", "--header", "Ce-Type: image.uploaded",
                "--header", "Ce-Specversion: 1.0", "--header", "Content-Type: application/json",
                "--data-binary", "@-", f"{self.cluster['broker']}/default/default",
                input=json.dumps(upload).encode(),
            )  # fmt: skip
            expect(status == "202", f"the broker answered {status}, not 202")
            say("202: the event is on disk")
            self.until("the ledger has its line", lambda: "holiday.jpg is 640 by 480" in self.funcs("logs", "ledger"))

    def zero(self) -> None:
        with self.narrate("idle, they scale to zero; the next request starts a pod"):
            self.until("no function pods are left", lambda: not any(self.replicas().values()), 60)
            took = self.curl_thumbnail(128, 96)
            say(f"cold start, curl's whole request: {took * 1000:.0f} ms")
            expect(self.replicas()["thumbnail"] == 1, "no pod was started")

    def push(self) -> None:
        with self.narrate("git push of an edit → PipelineRun → a second Revision takes the traffic"):
            place = self.work / "thumbnail"
            source = place / "func.py"
            source.write_text(
                source.read_text().replace('["128"]', '["64"]').replace("128 by default", "64 by default")
            )
            self.run("git", "add", "--all", cwd=place)
            self.run("git", "commit", "--quiet", "--message", "Smaller thumbnails", cwd=place)
            self.run("git", "push", "funcs", "HEAD:main", cwd=place, timeout=180)
            log = self.said
            print("\n".join(f"    {line}" for line in log.splitlines()[-14:]))
            expect("[deploy" in log, "the pipeline's log did not come back over the push")
            self.curl_thumbnail(64, 48)
            revisions = json.loads(self.funcs("describe", "thumbnail", "-o", "json"))["traffic"]
            expect(revisions[0]["revisionName"].endswith("-00002"), f"traffic is on {revisions}")
            say(f"the answer is 64 pixels wide now, from {revisions[0]['revisionName']}")

    def look(self) -> None:
        if shutil.which("kubectl") is None:
            say("skipped: no kubectl on this machine")
            return
        with self.narrate("kubectl sees it all, and applies a Service written by hand"):
            kinds = "ksvc,rev,route,config,brokers,triggers,taskruns,pipelineruns,pods"
            table = self.kubectl("get", kinds)
            print("\n".join(f"    {line}" for line in table.splitlines()))
            for column in ("LATESTCREATED", "CONFIG NAME", "SUBSCRIBER_URI", "SUCCEEDED", "READY"):
                expect(column in table, f"kubectl shows no column {column}")
            image = self.kubectl("get", "ksvc", "thumbnail", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
            by_hand = {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Service",
                "metadata": {"name": "by-hand"},
                "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
            }
            self.kubectl("apply", "-f", "-", input=json.dumps(by_hand).encode())
            self.kubectl("wait", "ksvc/by-hand", "--for=condition=Ready", "--timeout=60s")
            self.kubectl("delete", "ksvc/by-hand")

    def down_and_up(self) -> None:
        with self.narrate("funcs down leaves nothing behind; funcs up finds everything as it was"):
            before = Traces.take()
            self.funcs("down")
            left = Traces.take().of(self.cluster["state"])
            expect(not left, "left behind: " + "; ".join(left))
            say(f"no process, mount or network namespace of the cluster is left (of {before.count} looked at)")
            self.funcs("up")
            self.curl_thumbnail(64, 48)

    # -- looking ----------------------------------------------------------------------------------------------------

    def host(self, name: str) -> str:
        return f"{name}.default.localhost"

    def replicas(self) -> dict[str, int]:
        """How many pods each function has now."""
        found = json.loads(self.funcs("list", "-o", "json"))["items"]
        return {item["name"]: item["replicas"] for item in found}

    def until(self, what: str, happened: Callable[[], bool], seconds: float = 30) -> None:
        """Look again until it happened. Raises Failed after the deadline."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                raise Failed(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.5)
        say(what)


@dataclass(frozen=True)
class Traces:
    """What a machine can have of a cluster: processes, mounts, network namespaces."""

    found: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.found)

    @classmethod
    def take(cls) -> Traces:
        if not Path("/proc/self/mounts").exists():
            listing = subprocess.run(["ps", "-axo", "pid,command"], capture_output=True, text=True, check=True)
            return cls(tuple(f"process {line}" for line in listing.stdout.splitlines()))
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                mounts = (place / "mounts").read_text(errors="replace")
            except OSError:
                continue
            found.append(f"process {place.name} {line}")
            found += [f"mount in process {place.name} {mount}" for mount in mounts.splitlines()]
        namespaces = Path("/run/netns")
        found += [f"network namespace {path.name}" for path in namespaces.glob("*")] if namespaces.exists() else []
        return cls(tuple(found))

    def of(self, state: str) -> list[str]:
        return [line for line in self.found if state in line]


def expect(true: bool, otherwise: str) -> None:
    if not true:
        raise Failed(otherwise)


def expect_picture(data: bytes, size: tuple[int, int]) -> None:
    """The bytes are a JPEG of this size, as its own start-of-frame marker says."""
    expect(data[:2] == b"\xff\xd8", f"not a JPEG: {data[:80]!r}")
    place = 2
    while data[place + 1] not in (0xC0, 0xC2):
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    height, width = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
    expect((width, height) == size, f"the picture is {width}×{height}, not {size[0]}×{size[1]}")
    say(f"a real JPEG of {width}×{height}, {len(data)} bytes")


def jpeg(width: int, height: int) -> bytes:
    """A gradient with a disc, made here."""
    from PIL import Image, ImageDraw

    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    ImageDraw.Draw(picture).ellipse((width // 4, height // 4, width // 2, height // 2), fill=(220, 60, 40))
    made = BytesIO()
    picture.save(made, "JPEG", quality=85)
    return made.getvalue()


def say(text: str) -> None:
    print(f"    {text}", flush=True)


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="funcs-demo-") as directory:
        work = Path(directory)
        own = {"XDG_STATE_HOME": str(work / "state"), "FUNCS_CLUSTER": "demo"}
        demo = Demo(work, os.environ | own | git_identity())
        try:
            for step in (
                demo.up, demo.create, demo.deploy, demo.invoke, demo.events, demo.zero, demo.push, demo.look,
                demo.down_and_up,
            ):  # fmt: skip
                step()
        except (Failed, subprocess.TimeoutExpired) as error:
            print(f"\nThe demo failed at step {demo.step}: {error}", file=sys.stderr)
            keep_logs(work)
            return 1
        finally:
            subprocess.run([*FUNCS, "down", "--purge"], env=demo.environ, capture_output=True, check=False)
    print(f"\nAll of it happened, in {time.monotonic() - started:.1f} s.")
    return 0


def git_identity() -> dict[str, str]:
    """So that `git commit` works on a machine where git was never set up."""
    return {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
            (("NAME", "funcs demo"), ("EMAIL", "demo@localhost"))}  # fmt: skip


def keep_logs(work: Path) -> None:
    """The cluster's logs outlive the failed demo."""
    kept = Path(tempfile.mkdtemp(prefix="funcs-demo-logs-"))
    for log in (work / "state").glob("funcs/*/logs/*.log"):
        shutil.copy(log, kept)
    print(f"The logs are in {kept}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
