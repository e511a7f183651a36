"""A node without privileges, as a program: run by `test_unprivileged` as another user.

Prints one JSON object: what was running before the pod's shim was killed, what after the node had noticed, and what
after everything was stopped. IO: a cluster's directory in `argv[1]`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from funcs.control.clock import SystemClock
from funcs.control.ids import RandomIds
from funcs.control.memory import MemoryClient
from funcs.oci import model
from funcs.oci.layout import Layout
from runtimes.cluster.images import ImageStore
from runtimes.cluster.node.cleanup import stop_all
from runtimes.cluster.node.detect import detect
from runtimes.cluster.node.link import read_record
from runtimes.cluster.node.settings import NodeSettings
from tests.node.harness import IMAGE, MACHINE, PULLER, REGISTRY, World, container_status, put_image, shell_entries

# One child in the container's session, one in a session of its own, as daemons are; the last line is the container.
SCRIPT = "sleep 1000 & setsid sleep 1001 & echo $$; touch up; while true; do sleep 0.05; done"


def processes(root: Path) -> list[int]:
    """What has been started below `root`, the shims themselves apart."""
    mark, found = os.fsencode(root) + b"/pods/", []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (each / "environ").read_bytes():
                found.append(int(each.name))
        except OSError:
            continue
    return found


async def main(root: Path) -> dict[str, object]:
    layout = Layout(root / "images")
    put_image(layout, "test/sh", "1", [shell_entries()], model.Execution(labels={"dev.funcs.base": "host"}))
    found = detect("auto", sys.executable, os.environ["PATH"], root)
    settings = NodeSettings(name="here", state=root, run=root / "run", capacity={"cpu": "1", "memory": "1Gi"})
    client = MemoryClient(clock=SystemClock(), ids=RandomIds())
    for name in ("default", "kube-node-lease"):
        client.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    world = World(client, settings, found.runtime, ImageStore(layout, MACHINE, REGISTRY, PULLER))
    await world.start()
    pod = await world.create(
        "pod", {"containers": [{"name": "main", "image": IMAGE, "command": ["/bin/sh", "-c", SCRIPT]}]}
    )
    await world.until("pod", lambda pod: (world.directory(pod) / "main/home/up").exists(), "up")
    before = set(processes(root))
    record = read_record(world.directory(pod))
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    await world.until("pod", lambda pod: container_status(pod).get("restartCount") == 1, "restarted")
    noticed = set(processes(root))
    again = read_record(world.directory(pod))
    assert again is not None
    await world.stop()  # nobody notices the second time
    os.kill(again.pid, signal.SIGKILL)
    await asyncio.to_thread(stop_all, root, 0.0)
    return {
        "runtime": found.text,
        "uid": os.getuid(),
        "before": len(before),
        "survived the shim": len(before & noticed),
        "left": len(processes(root)),
        "pods": [each.name for each in settings.pods.iterdir()],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
