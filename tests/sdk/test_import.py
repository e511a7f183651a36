"""What `import funcs` costs a function."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import sys, time
began = time.perf_counter()
from funcs import Context, Event, HTTPError, Retry
print(__import__("json").dumps([time.perf_counter() - began, sorted(sys.modules)]))
"""


def test_the_sdk_loads_nothing_heavy_and_is_quick() -> None:
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    modules = set(runs[0][1])
    ours = {name for name in modules if name.split(".")[0] in {"funcs", "runtimes", "pipelines"}}
    allowed = {"funcs", "funcs.errors", "funcs.sdk"}
    assert all(name in allowed or name.startswith("funcs.sdk.") for name in ours), ours
    heavy = {"asyncio", "msgspec", "kubernetes", "httpx", "click", "yaml", "cloudevents", "ssl", "email", "http.client"}
    assert not heavy & modules
    assert min(took for took, _ in runs) < 0.25
