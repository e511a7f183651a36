"""Clusters for scenarios: one for the session, and one for each test that kills things."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.scenarios.cluster import Cluster
from tests.scenarios.traffic import Recorder

HERE = Path(__file__).parent
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is here is a scenario."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.scenario)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed scenario shows what the parts of its cluster have logged."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        item.stash[FAILED] = True
        for name, value in item.funcargs.items():
            if isinstance(value, Cluster) and value.places.logs.exists():
                report.sections.append((f"logs of {name}", value.logs()))
    return report


@pytest.fixture(scope="session")
def build_cache() -> Iterator[Path]:
    """Shared by all clusters of the session, so that an image's layers are made once."""
    with tempfile.TemporaryDirectory(prefix="fsc-") as directory:
        yield Path(directory)


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """Up inside the block, down and purged after it."""
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.remove()


def home() -> Path:
    """Short, because unix sockets live below it."""
    return Path(tempfile.mkdtemp(prefix="fs-"))


@pytest.fixture(scope="session")
def cluster(build_cache: Path) -> Iterator[Cluster]:
    """The session's cluster, with the function `who` deployed; not for tests that kill or stop it."""
    with running(Cluster(home(), build_cache)) as made:
        made.deploy("who", "--annotation", "autoscaling.knative.dev/window=6s")
        yield made


@dataclass(slots=True)
class Victims:
    """Hands out a cluster to be hurt: the one of the test before if that passed and left it whole, else a new one."""

    cache: Path
    current: Cluster | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    def take(self) -> Cluster:
        if self.current is None or not self.current.status().up:
            self.drop()
            self.current = self.stack.enter_context(running(Cluster(home(), self.cache)))
            self.current.deploy("who", "--annotation", "autoscaling.knative.dev/min-scale=1")
        return self.current

    def drop(self) -> None:
        self.current = None
        self.stack.close()


@pytest.fixture(scope="session")
def victims(build_cache: Path) -> Iterator[Victims]:
    made = Victims(build_cache)
    yield made
    made.drop()


@pytest.fixture
def victim(victims: Victims, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster to be hurt, with `who` deployed and kept at one pod. It may have survived other tests."""
    taken = victims.take()
    yield taken
    if request.node.stash.get(FAILED, False):
        victims.drop()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


@pytest.fixture
def another(build_cache: Path) -> Iterator[Cluster]:
    """A cluster that has never been up."""
    made = Cluster(home(), build_cache, name="another")
    made.work.mkdir()
    yield made
    made.remove()
