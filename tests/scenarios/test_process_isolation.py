"""The same tour where pods are plain processes: no containers, no privileges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.cluster import Cluster, eventually
from tests.scenarios.conftest import home, running
from tests.scenarios.traces import Traces, network_namespaces


@pytest.fixture(scope="module")
def plain(build_cache: Path) -> Iterator[Cluster]:
    with running(Cluster(home(), build_cache, isolation="process", name="plain")) as made:
        made.deploy("who", "--annotation", "autoscaling.knative.dev/window=6s")
        yield made


def test_it_says_that_pods_are_processes(plain: Cluster) -> None:
    status = json.loads(plain.funcs("status", "-o", "json").out)
    assert status["runtime"].startswith("plain processes")


def test_a_function_answers(plain: Cluster) -> None:
    assert '"told":"hello"' in plain.funcs("invoke", "who", "hello", "--content-type", "text/plain").out


def test_an_event_reaches_a_function(plain: Cluster) -> None:
    plain.deploy("ear")
    plain.subscribe("ear", f"http://ear.default.localhost:{plain.record.ports.gateway}/")
    assert plain.send("heard-1") == 202
    eventually("the function has logged it", lambda: "told {}" in plain.funcs("logs", "ear").out)


def test_idle_it_scales_to_zero_and_a_request_wakes_it(plain: Cluster) -> None:
    before = plain.call("who").who
    eventually("no pods are left", lambda: not plain.pods("who"), 40)
    answer = plain.call("who")
    assert answer.status == 200
    assert answer.who != before


def test_a_hand_written_service_answers(plain: Cluster) -> None:
    plain.serve("by-hand", plain.image("who"))
    assert plain.call("by-hand").status == 200


def test_down_leaves_nothing_and_up_finds_everything(plain: Cluster) -> None:
    plain.call("who")
    traces = Traces.take(plain.places.root, network_namespaces())
    plain.funcs("down")
    assert traces.left() == []
    plain.funcs("up", "--isolation=process")
    eventually("the function answers again", lambda: plain.call("who").status == 200)
