"""`python -m funcs.deploy.step`: deploy a built image, as the last step of a Pipeline.

Law: what the step may do is its service account's affair; it deploys into its own namespace. IO: the API server by the
service account's token, func.yaml.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from funcs.control.clock import SystemClock
from funcs.errors import FuncsError
from funcs.kube import HttpClient, in_cluster
from funcs.project import funcfile

from .apply import apply, wait_ready
from .plan import Target, plan

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m funcs.deploy.step", description="Deploy a built image.")
    arguments.add_argument("--source", type=Path, required=True, help="the function's directory")
    arguments.add_argument("--image", required=True, help="the image, by digest")
    arguments.add_argument("--account", type=Path, default=ACCOUNT, help="where token, ca.crt and namespace are")
    arguments.add_argument("--timeout", type=float, default=120.0, help="seconds to wait for the new Revision")
    given = arguments.parse_args()
    try:
        print(asyncio.run(_deploy(given)))
    except FuncsError as error:
        print(f"error: {error.message}", *([f"  → {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        return 1
    return 0


async def _deploy(given: argparse.Namespace) -> str:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    namespace = (given.account / "namespace").read_text().strip()
    function = funcfile.read(given.source).function
    client = HttpClient(in_cluster(given.account, host, port))
    try:
        service = await apply(client, plan(function, Target(namespace, given.image, os.environ)))
        service = await wait_ready(client, service, SystemClock(), seconds=given.timeout, report=print)
    finally:
        await client.close()
    return f"{service['status']['latestReadyRevisionName']} serves at {service['status']['url']}"


if __name__ == "__main__":
    sys.exit(main())
