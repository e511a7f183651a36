"""Peers started here, each in a pinned environment of its own; load; and rows of ratios.

Law: figures are compared only within one run: contestants alternate, round by round, on the same core, with the load
generator on another, and medians are taken. Versions are asserted when a peer is started. IO: processes, pip.

What is compared is processor time per request, of all processes of a server: its inverse is the rate of a core that
does nothing else, whoever else uses the machine. The rate that was seen stands beside it, and is the load generator's
as much as the server's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0


class Skipped(Exception):
    """A row that cannot be had on this machine; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Ours against theirs; `budget`: the least ratio there may be, None: only shown. More is better, unless `less_is`.

    `enforced` False: the budget belongs to work that is not done yet, and missing it is said but is no failure.
    """

    name: str
    peer: str
    ours: float
    theirs: float
    unit: str = "req/s"
    budget: float | None = None
    less_is: bool = False
    enforced: bool = True
    rates: tuple[float, float] | None = None
    """Requests per second that were seen, ours and theirs."""
    spread: tuple[float, float] | None = None
    """The least and the greatest ratio of a single round."""

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours if self.less_is else self.ours / self.theirs

    @property
    def met(self) -> bool:
        return self.budget is None or self.ratio >= self.budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A server: `command` may name `{port}`; it gets PORT in its environment, too. `port` 0: a free one."""

    name: str
    command: Sequence[str]
    cwd: Path = ROOT
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk sends: a GET, or what its `script` says."""

    path: str = "/"
    host: str = ""
    script: Path | None = None
    connections: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A contestant that runs."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Requests a second, and microseconds of processor time that the server itself spent on each: medians of rounds."""

    rate: float
    cost: float
    costs: tuple[float, ...] = ()
    """Of each round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and for how long. `cache` is kept from run to run."""

    cache: Path = ROOT / ".cache" / "benchmarks"
    seconds: int = 2
    rounds: int = 5

    @property
    def cores(self) -> tuple[int, int]:
        """(the server's, the load generator's)."""
        available = sorted(os.sched_getaffinity(0))
        return available[-1], available[0]

    def environment(self, name: str, pins: Mapping[str, str]) -> Path:
        """The interpreter of a virtual environment with exactly these versions; made if it is not there."""
        home = self.cache / name
        python = home / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        if versions(python, pins) != dict(pins):
            wanted = [f"{package}=={version}" for package, version in pins.items()]
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True
            )
        found = versions(python, pins)
        if found != dict(pins):
            raise SystemExit(f"{name}: {found} is installed, not {dict(pins)}")
        return python

    def go(self, source: Path) -> Path:
        """A Go program, built. Raises Skipped without Go."""
        if shutil.which("go") is None:
            raise Skipped("Go is not installed")
        self.cache.mkdir(parents=True, exist_ok=True)
        program = self.cache / source.name.partition(".")[0]
        copy = program.with_suffix(".go")
        copy.write_text(source.read_text())
        subprocess.run(["go", "build", "-o", str(program), str(copy)], check=True)
        return program

    def measure(self, contestants: Sequence[Contestant], load: Load) -> dict[str, Figures]:
        """Rate and cost by contestant: the medians over the rounds, after one to warm up."""
        if shutil.which("wrk") is None:
            raise Skipped("wrk is not installed")
        found: dict[str, list[Figures]] = {}
        with contextlib.ExitStack() as stack:
            servers = {c.name: stack.enter_context(self.running(c)) for c in contestants}
            for round_ in range(self.rounds + 1):
                for name, server in servers.items():
                    figures = self.wrk(server, load, self.seconds if round_ else 1)
                    if round_:
                        found.setdefault(name, []).append(figures)
        return {name: _medians(figures) for name, figures in found.items()}

    @contextlib.contextmanager
    def running(self, contestant: Contestant, core: int | None = None) -> Iterator[Server]:
        """Start it on a core (None: the server's), and wait until it accepts connections."""
        port = contestant.port or free_port()
        command = [
            *pinned(self.cores[0] if core is None else core),
            *(part.format(port=port) for part in contestant.command),
        ]
        own = {name: value.format(port=port) for name, value in contestant.env.items()}
        log = self.cache / f"{contestant.name.replace(' ', '-')}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=contestant.cwd,
                env={**os.environ, "PORT": str(port), **own},
                stdout=output,
                stderr=output,
            )
        try:
            wait_for(port, lambda: process.poll() is None, log)
            yield Server(port=port, pid=process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wrk(self, server: Server, load: Load, seconds: int) -> Figures:
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s"]
        if load.script is not None:
            command += ["-s", str(load.script)]
        if load.host:
            command += ["-H", f"Host: {load.host}"]
        spent = processor_time(server.pid)
        done = subprocess.run(
            [*pinned(self.cores[1]), *command, f"http://127.0.0.1:{server.port}{load.path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        spent = processor_time(server.pid) - spent
        wrong = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", done.stdout)
        if wrong:
            raise SystemExit(f"port {server.port}: {wrong.group(0)}")
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        served = re.search(r"(\d+) requests in", done.stdout)
        assert rate is not None, done.stdout
        assert served is not None, done.stdout
        return Figures(rate=float(rate.group(1)), cost=spent * 1e6 / int(served.group(1)))


def throughput(name: str, peer: str, ours: Figures, theirs: Figures, budget: float | None = None) -> Row:
    """Requests per second of processor time, against a peer's of the same run."""
    ratios = [peers / own for own, peers in zip(ours.costs, theirs.costs, strict=True)]
    return Row(
        name=name,
        peer=peer,
        ours=ours.cost,
        theirs=theirs.cost,
        unit="µs CPU",
        budget=budget,
        less_is=True,
        rates=(ours.rate, theirs.rate),
        spread=(min(ratios), max(ratios)),
    )


def processor_time(pid: int) -> float:
    """Seconds, user's and kernel's, of a process and its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(processor_time(int(child)) for child in children)


def _medians(figures: Sequence[Figures]) -> Figures:
    costs = tuple(one.cost for one in figures)
    return Figures(rate=statistics.median(one.rate for one in figures), cost=statistics.median(costs), costs=costs)


def pinned(core: int) -> list[str]:
    """What to put before a command, so that it stays on one core."""
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def versions(python: Path, names: Mapping[str, str]) -> dict[str, str]:
    """The installed versions of some packages; those that are not there are left out."""
    code = "from importlib.metadata import distributions as d\nfor x in d(): print(x.metadata['Name'], x.version)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    found = dict(line.split() for line in done.stdout.splitlines())
    return {name: found[name] for name in names if name in found}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for(port: int, alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and alive():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}:\n{log.read_text()[-2000:]}")
