"""The function runtime against func-python, functions-framework (gunicorn, WSGI) and Go's net/http, one core each.

Ours is what `funcs create` makes, unmodified, logging included. Theirs do the least that answers: Go writes a constant,
the Python ones what their own templates do without logging.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from funcs.project.template import NewFunction, builtin_templates, create

from .harness import ROOT, Bench, Contestant, Load, Row, Skipped

PEERS = Path(__file__).parent / "peers"
FUNC_PYTHON = {"func-python": "0.8.1", "cloudevents": "2.2.0", "Hypercorn": "0.17.3", "h11": "0.16.0"}
FRAMEWORK = {"functions-framework": "3.10.2", "gunicorn": "27.0.1", "Flask": "3.1.3", "cloudevents": "1.12.0"}
SYNC = "def handle(ctx, event):\n    return {'message': 'Hello, world!'}\n"


async def rows(bench: Bench) -> list[Row]:
    return [*_hello(bench), *_cloudevents(bench)]


def _hello(bench: Bench) -> list[Row]:
    contestants = [_ours(bench, "http"), _sync(bench), _func_python(bench, "http"), _framework(bench, "http")]
    try:
        contestants.append(
            Contestant(name="go", command=[str(bench.go(PEERS / "hello.go.txt"))], env={"GOMAXPROCS": "1"})
        )
    except Skipped as skipped:
        print(f"function: without Go's net/http: {skipped}")
    rate = bench.compare(contestants, Load())
    ours, sync = rate["funcs http"], rate["funcs sync"]
    found = [
        Row(name="hello, async", peer="func-python", ours=ours, theirs=rate["func-python http"], budget=15),
        Row(name="hello, async", peer="functions-framework", ours=ours, theirs=rate["functions-framework http"]),
        Row(name="hello, sync (threads)", peer="func-python", ours=sync, theirs=rate["func-python http"]),
    ]
    if "go" in rate:
        found.append(Row(name="hello, async", peer="Go net/http", ours=ours, theirs=rate["go"], budget=1.2))
    return found


def _cloudevents(bench: Bench) -> list[Row]:
    names = ("funcs cloudevents", "func-python cloudevents", "functions-framework cloudevents")
    contestants = [_ours(bench, "cloudevents"), _func_python(bench, "cloudevents"), _framework(bench, "cloudevents")]
    rate = bench.compare(contestants, Load(script=PEERS / "cloudevent.lua"))
    ours, func_python, framework = (rate[name] for name in names)
    return [
        Row(name="CloudEvent, 1 KB", peer="func-python", ours=ours, theirs=func_python, budget=8),
        Row(name="CloudEvent, 1 KB", peer="functions-framework", ours=ours, theirs=framework, budget=12),
    ]


def _ours(bench: Bench, template: str) -> Contestant:
    directory = bench.cache / f"function-{template}"
    shutil.rmtree(directory, ignore_errors=True)
    asked = NewFunction(name=directory.name, created="2026-01-01T00:00:00Z", template=template)
    create(directory, asked, builtin_templates())
    return _runtime(f"funcs {template}", directory)


def _sync(bench: Bench) -> Contestant:
    directory = bench.cache / "function-sync"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "func.py").write_text(SYNC)
    return _runtime("funcs sync", directory)


def _runtime(name: str, directory: Path) -> Contestant:
    command = [sys.executable, "-m", "runtimes.function"]
    return Contestant(name=name, command=command, cwd=directory, env={"PYTHONPATH": str(ROOT), "ADDRESS": "127.0.0.1"})


def _func_python(bench: Bench, kind: str) -> Contestant:
    python = bench.environment("func-python", FUNC_PYTHON)
    command = [str(python), str(PEERS / "asgi_function.py"), kind]
    return Contestant(name=f"func-python {kind}", command=command, env={"LISTEN_ADDRESS": "127.0.0.1:{port}"})


def _framework(bench: Bench, kind: str) -> Contestant:
    python = bench.environment("functions-framework", FRAMEWORK)
    program = python.with_name("functions-framework")
    target, signature = ("hello", "http") if kind == "http" else ("event", "cloudevent")
    source = ["--source", str(PEERS / "flask_function.py"), "--target", target, "--signature-type", signature]
    return Contestant(
        name=f"functions-framework {kind}", command=[str(program), *source, "--host", "127.0.0.1", "--port", "{port}"]
    )
