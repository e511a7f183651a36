"""The function runtime against func-python, functions-framework (gunicorn, WSGI) and Go's net/http, one core each.

Each is run as its makers run it: func-python by its `serve` (hypercorn), functions-framework by its own program
(gunicorn, one worker and its threads). The work is equal in each row. "hello": the function that `funcs create` makes,
unmodified; theirs answer the same constant. "line and reply": again the unmodified function; it and func-python's write
one line of log for each event, and answer with an event that holds the data. "consumed": the data is decoded and
nothing is said, which is all that functions-framework can do.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from funcs.project.template import NewFunction, builtin_templates, create

from .harness import ROOT, Bench, Contestant, Load, Row, Skipped, throughput

PEERS = Path(__file__).parent / "peers"
FUNC_PYTHON = {"func-python": "0.8.1", "cloudevents": "2.2.0", "Hypercorn": "0.17.3", "h11": "0.16.0"}
FRAMEWORK = {"functions-framework": "3.10.2", "gunicorn": "27.0.1", "Flask": "3.1.3", "cloudevents": "1.12.0"}
WRITTEN = {
    "sync": "def handle(ctx, event):\n    return {'message': 'Hello, world!'}\n",
    "consumer": "async def handle(ctx, event):\n    assert event.data is not None\n",
}


async def rows(bench: Bench) -> list[Row]:
    return [*_hello(bench), *_cloudevents(bench)]


def _hello(bench: Bench) -> list[Row]:
    contestants = [
        _ours(bench, "http"),
        _written(bench, "sync"),
        _func_python(bench, "http"),
        _framework(bench, "http"),
    ]
    try:
        contestants.append(
            Contestant(name="go", command=[str(bench.go(PEERS / "hello.go.txt"))], env={"GOMAXPROCS": "1"})
        )
    except Skipped as skipped:
        print(f"function: without Go's net/http: {skipped}")
    seen = bench.measure(contestants, Load())
    ours, func_python, framework = seen["funcs http"], seen["func-python http"], seen["functions-framework http"]
    found = [
        throughput("hello, async", "func-python", ours, func_python, 15),
        throughput("hello, async", "functions-framework", ours, framework),
        throughput("hello, sync (threads)", "func-python", seen["funcs sync"], func_python),
        throughput("hello, sync (threads)", "functions-framework", seen["funcs sync"], framework),
    ]
    if "go" in seen:
        found.append(throughput("hello, async", "Go net/http", ours, seen["go"], 1.2))
    return found


def _cloudevents(bench: Bench) -> list[Row]:
    contestants = [
        _ours(bench, "cloudevents"),
        _func_python(bench, "reply"),
        _written(bench, "consumer"),
        _func_python(bench, "consumer"),
        _framework(bench, "consumer"),
    ]
    seen = bench.measure(contestants, Load(script=PEERS / "cloudevent.lua"))
    ours, func_python = seen["funcs consumer"], seen["func-python consumer"]
    return [
        throughput(
            "CloudEvent, line and reply", "func-python", seen["funcs cloudevents"], seen["func-python reply"], 8
        ),
        throughput("CloudEvent, consumed", "func-python", ours, func_python, 8),
        throughput("CloudEvent, consumed", "functions-framework", ours, seen["functions-framework consumer"], 12),
    ]


def _ours(bench: Bench, template: str) -> Contestant:
    directory = bench.cache / f"function-{template}"
    shutil.rmtree(directory, ignore_errors=True)
    asked = NewFunction(name=directory.name, created="2026-01-01T00:00:00Z", template=template)
    create(directory, asked, builtin_templates())
    return _runtime(f"funcs {template}", directory)


def _written(bench: Bench, name: str) -> Contestant:
    directory = bench.cache / f"function-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "func.py").write_text(WRITTEN[name])
    return _runtime(f"funcs {name}", directory)


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
    target, signature = ("hello", "http") if kind == "http" else ("consumer", "cloudevent")
    source = ["--source", str(PEERS / "flask_function.py"), "--target", target, "--signature-type", signature]
    return Contestant(
        name=f"functions-framework {kind}", command=[str(program), *source, "--host", "127.0.0.1", "--port", "{port}"]
    )
